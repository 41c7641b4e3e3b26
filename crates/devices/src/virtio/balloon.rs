//! The memory balloon (virtio 1.2, section 5.5): memory that a guest does not need goes back.

use super::queue::{Chain, QUEUE_SIZE_MAX, Rings};
use super::transport::Model;
use omni_base::{Gpa, PAGE_SIZE_U64, PageNo};
use omni_machine::{Control, DeviceCx, IoId, IoRequest, IoResult, PortId};
use omni_state::{Bundle, StateError, record};
use std::collections::BTreeMap;

/// Pages that one request can put into the balloon; more of them stay where they are, which does
/// no harm. Linux names 256.
pub const PAGES_PER_REQUEST_MAX: usize = 1 << 14;

/// Pages that one report can give back; more of them stay. Linux reports 32,768 at most.
pub const PAGES_PER_REPORT_MAX: u64 = 1 << 16;

/// Tags of statistics that are kept are below this.
const TAGS_MAX: u16 = 32;

/// Statistics of one request.
const STATISTICS_MAX: u64 = 64;

/// What the loss of a page counts as work, in bytes.
const WORK_PER_PAGE: u64 = 1 << 9;

const INFLATE: usize = 0;
const DEFLATE: usize = 1;
const STATISTICS: usize = 2;

mod feature {
    pub(super) const STATS_VQ: u64 = 1 << 1;
    pub(super) const DEFLATE_ON_OOM: u64 = 1 << 2;
    pub(super) const PAGE_POISON: u64 = 1 << 4;
    pub(super) const PAGE_REPORTING: u64 = 1 << 5;
}

record! {
    /// State of a balloon.
    pub struct BalloonState = "virtio-balloon" v 1 {
        /// Pages that the balloon is to have.
        num_pages: u32;
        /// Pages that the driver says it has.
        actual: u32;
        /// What the driver expects in pages that it reports.
        poison_val: u32;
        /// Pages that were put into the balloon, over all time.
        inflated: u64;
        /// Pages that were reported and given back, over all time.
        reported: u64;
        /// The last statistics of the driver, by tag (section 5.5.6.3).
        statistics: BTreeMap<u16, u64>;
        /// The head of the request that is kept until statistics are wanted.
        waiting: Option<u16>;
    }
}

/// A balloon. Pages that are in it, and free pages that are reported, are zero from then on and
/// take no memory until they are written again.
#[derive(Debug)]
pub struct Balloon {
    ram_bytes: u64,
    state: BalloonState,
}

/// What a queue is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Inflate,
    Deflate,
    Statistics,
    Reporting,
    Nothing,
}

impl Balloon {
    /// A balloon, empty, of a machine with so much memory.
    #[must_use]
    pub fn new(ram_bytes: u64) -> Self {
        let state = BalloonState {
            num_pages: 0,
            actual: 0,
            poison_val: 0,
            inflated: 0,
            reported: 0,
            statistics: BTreeMap::new(),
            waiting: None,
        };
        Self { ram_bytes, state }
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> &BalloonState {
        &self.state
    }

    /// What a queue is for. A queue whose feature was not accepted does not count (section 5.5.2
    /// numbers all that there can be, drivers those that there are), so reports have two places.
    fn role(queue: usize, rings: &Rings<'_, '_>) -> Role {
        let statistics = rings.has(feature::STATS_VQ);
        let reporting = rings.has(feature::PAGE_REPORTING);
        match queue {
            INFLATE => Role::Inflate,
            DEFLATE => Role::Deflate,
            STATISTICS if statistics => Role::Statistics,
            STATISTICS..=4 if reporting => Role::Reporting,
            _ => Role::Nothing,
        }
    }

    /// Pages that are named by number, each in four bytes.
    fn inflate(&mut self, chain: &Chain, rings: &mut Rings<'_, '_>) {
        let bytes_max = 4 * PAGES_PER_REQUEST_MAX as u64;
        let size = chain.readable_size().min(bytes_max) & !3;
        let mut bytes = vec![0; usize::try_from(size).expect("bounded")];
        if !chain.read(rings.cx, 0, &mut bytes) {
            rings.fail();
            return;
        }
        let base = rings.cx.ram_base;
        let (numbers, _) = bytes.as_chunks::<4>();
        let page = |number: &[u8; 4]| {
            let at = u64::from(u32::from_le_bytes(*number)) * PAGE_SIZE_U64;
            at.checked_sub(base.0).map(|offset| Gpa(offset).page())
        };
        let pages: Vec<PageNo> = numbers.iter().filter_map(page).collect();
        self.state.inflated = self.state.inflated.wrapping_add(pages.len() as u64);
        rings.charge(pages.len() as u64 * WORK_PER_PAGE);
        rings.cx.ram().clear(pages);
    }

    /// Free pages, as stretches of memory that the driver does not look at before it is told.
    fn report(&mut self, chain: &Chain, rings: &mut Rings<'_, '_>) {
        // A driver that fills free pages with something wants to find it there (section 5.5.6.6).
        if rings.has(feature::PAGE_POISON) && self.state.poison_val != 0 {
            return;
        }
        let base = rings.cx.ram_base;
        let mut left = PAGES_PER_REPORT_MAX;
        for segment in &chain.writable {
            let Some(offset) = segment.at.0.checked_sub(base.0) else { continue };
            // Whole pages only: the rest is not this report's to give.
            let first = offset.div_ceil(PAGE_SIZE_U64);
            let end = (offset + u64::from(segment.size)) / PAGE_SIZE_U64;
            let count = end.saturating_sub(first).min(left);
            left -= count;
            rings.cx.ram().clear((first..first + count).map(PageNo));
            self.state.reported = self.state.reported.wrapping_add(count);
        }
        rings.charge((PAGES_PER_REPORT_MAX - left) * WORK_PER_PAGE);
    }

    /// Statistics, which are kept with the request they came by: it is given back when others are
    /// wanted.
    fn learn(&mut self, chain: &Chain, rings: &mut Rings<'_, '_>) {
        const SIZE: usize = 10;
        let size = chain.readable_size().min(STATISTICS_MAX * SIZE as u64);
        let mut bytes = vec![0; usize::try_from(size).expect("bounded")];
        if !chain.read(rings.cx, 0, &mut bytes) {
            rings.fail();
            return;
        }
        self.state.statistics.clear();
        for [low, high, value @ ..] in bytes.as_chunks::<SIZE>().0 {
            let tag = u16::from_le_bytes([*low, *high]);
            if tag < TAGS_MAX {
                self.state.statistics.insert(tag, u64::from_le_bytes(*value));
            }
        }
        self.ask(rings);
        self.state.waiting = Some(chain.head);
    }

    /// Asks the driver for new statistics.
    fn ask(&mut self, rings: &mut Rings<'_, '_>) {
        if rings.is_live()
            && let Some(head) = self.state.waiting.take()
        {
            rings.push(STATISTICS, head, 0);
        }
    }
}

impl Model for Balloon {
    fn device_id(&self) -> u32 {
        5
    }

    fn queue_count(&self) -> usize {
        5
    }

    fn features(&self) -> u64 {
        feature::STATS_VQ | feature::DEFLATE_ON_OOM | feature::PAGE_POISON | feature::PAGE_REPORTING
    }

    fn config(&self) -> Vec<u8> {
        let hint = 0;
        let BalloonState { num_pages, actual, poison_val, .. } = self.state;
        [num_pages, actual, hint, poison_val].into_iter().flat_map(u32::to_le_bytes).collect()
    }

    fn config_write(&mut self, offset: u64, bytes: &[u8], _: &mut DeviceCx<'_>) {
        let Ok(value) = <[u8; 4]>::try_from(bytes).map(u32::from_le_bytes) else { return };
        match offset {
            4 => self.state.actual = value,
            12 => self.state.poison_val = value,
            _ => {}
        }
    }

    fn serve(&mut self, queue: usize, rings: &mut Rings<'_, '_>) {
        let role = Self::role(queue, rings);
        if role == Role::Nothing {
            return;
        }
        while let Some(chain) = rings.pop(queue) {
            match role {
                Role::Inflate => self.inflate(&chain, rings),
                Role::Reporting => self.report(&chain, rings),
                Role::Statistics => {
                    self.learn(&chain, rings);
                    continue;
                }
                // What is written to a page again is there again: nothing is to be done.
                Role::Deflate | Role::Nothing => {}
            }
            rings.push(queue, chain.head, 0);
        }
    }

    fn input(&mut self, _: PortId, _: &[u8], _: &mut Rings<'_, '_>) -> bool {
        false
    }

    fn io_done(&mut self, _: IoId, _: &IoResult, _: &mut Rings<'_, '_>) -> bool {
        false
    }

    fn generation(&mut self, _: &[u8; 32], _: &mut Rings<'_, '_>) {}

    fn control(&mut self, control: Control, rings: &mut Rings<'_, '_>) {
        match control {
            Control::Balloon { bytes } => {
                let pages = self.ram_bytes.saturating_sub(bytes) / PAGE_SIZE_U64;
                let pages = u32::try_from(pages).unwrap_or(u32::MAX);
                if pages != self.state.num_pages {
                    self.state.num_pages = pages;
                    rings.config_changed();
                }
                self.ask(rings);
            }
            Control::Reset | Control::PowerButton | Control::Resize { .. } => {}
        }
    }

    fn pending(&self) -> Vec<IoRequest> {
        Vec::new()
    }

    /// The balloon is empty then; how large it should be is not the driver's to say.
    fn driver_reset(&mut self) {
        (self.state.actual, self.state.poison_val) = (0, 0);
        self.state.statistics.clear();
        self.state.waiting = None;
    }

    fn reset(&mut self) {
        self.driver_reset();
    }

    fn save(&self, path: &str, into: &mut Bundle) {
        into.put(path, &self.state);
    }

    fn load(&mut self, path: &str, from: &mut Bundle) -> Result<(), StateError> {
        let state: BalloonState = from.take(path)?;
        let known = state.statistics.keys().all(|tag| *tag < TAGS_MAX);
        if !known || state.waiting.is_some_and(|head| head >= QUEUE_SIZE_MAX) {
            return Err(StateError::Invalid("balloon"));
        }
        self.state = state;
        Ok(())
    }
}
