//! The block device (virtio 1.2, section 5.2), over a space of the machine.

use super::queue::{Chain, QUEUE_SIZE_MAX, Rings};
use super::transport::Model;
use omni_base::{Gpa, PAGE_SIZE, PAGE_SIZE_U64};
use omni_machine::{Control, DeviceCx, IoId, IoOp, IoRequest, IoResult, PortId};
use omni_state::{Bundle, StateError, record};

/// Bytes per sector.
pub const SECTOR_SIZE: u64 = 512;

/// Segments of data in one request.
const SEGMENTS_MAX: u32 = 126;
/// Bytes of one segment of data.
const SEGMENT_BYTES_MAX: u32 = 64 << 10;
/// Bytes of data in one request.
const REQUEST_BYTES_MAX: u64 = 126 * (64 << 10);
/// Sectors of one range to zero or discard.
const RANGE_SECTORS_MAX: u32 = 16 << 10;
/// Ranges of one request.
const RANGES_MAX: u32 = 4;
/// Bytes copied at a time.
const COPY_SIZE: u64 = 64 << 10;
const HEADER_SIZE: u64 = 16;
const ID_SIZE: usize = 20;

mod feature {
    pub(super) const SIZE_MAX: u64 = 1 << 1;
    pub(super) const SEG_MAX: u64 = 1 << 2;
    pub(super) const RO: u64 = 1 << 5;
    pub(super) const BLK_SIZE: u64 = 1 << 6;
    pub(super) const FLUSH: u64 = 1 << 9;
    pub(super) const TOPOLOGY: u64 = 1 << 10;
    pub(super) const DISCARD: u64 = 1 << 13;
    pub(super) const WRITE_ZEROES: u64 = 1 << 14;
}

mod request {
    pub(super) const IN: u32 = 0;
    pub(super) const OUT: u32 = 1;
    pub(super) const FLUSH: u32 = 4;
    pub(super) const GET_ID: u32 = 8;
    pub(super) const DISCARD: u32 = 11;
    pub(super) const WRITE_ZEROES: u32 = 13;
}

/// How a request ends.
#[derive(Clone, Copy)]
enum Status {
    Ok = 0,
    IoError = 1,
    Unsupported = 2,
}

/// A request that is over, and the bytes of data written to the guest.
type Ended = (Status, u32);

record! {
    /// State of a block device: its content is a space, so only flushes take time.
    pub struct BlockState = "virtio-block" v 1 {
        /// Flushes in flight, oldest first: the request, the head of its chain and the
        /// guest-physical address of its status byte.
        flushes: Vec<(IoId, u16, u64)>;
    }
}

/// A disk. Reads and writes happen at once; a flush takes as long as the outside does.
#[derive(Debug)]
pub struct Block {
    port: PortId,
    space: usize,
    sectors: u64,
    read_only: bool,
    id: [u8; ID_SIZE],
    state: BlockState,
}

impl Block {
    /// A disk of `bytes` bytes in the machine's space of this index; `id` is its serial number,
    /// of which twenty bytes count. Flushes go to `port`.
    pub fn new(port: PortId, space: usize, bytes: u64, read_only: bool, id: &str) -> Self {
        let mut serial = [0; ID_SIZE];
        serial.iter_mut().zip(id.bytes()).for_each(|(to, from)| *to = from);
        let sectors = bytes / SECTOR_SIZE;
        let state = BlockState { flushes: Vec::new() };
        Self { port, space, sectors, read_only, id: serial, state }
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> &BlockState {
        &self.state
    }

    /// Does one request.
    fn run(&mut self, chain: &Chain, rings: &mut Rings<'_, '_>) {
        let mut header = [0; 16];
        let status_offset = chain.writable_size().checked_sub(1);
        let (true, Some(status_offset)) = (chain.read(rings.cx, 0, &mut header), status_offset)
        else {
            // There is nowhere to say that the request makes no sense.
            rings.fail();
            return;
        };
        let [a, b, c, d, _, _, _, _, sector @ ..] = header;
        let sector = u64::from_le_bytes(sector);
        let (status, written) = match u32::from_le_bytes([a, b, c, d]) {
            request::IN => self.read(chain, sector, status_offset, rings.cx),
            request::OUT => self.write(chain, sector, rings.cx),
            request::FLUSH if self.read_only => (Status::Ok, 0),
            request::FLUSH => return self.flush(chain, status_offset, rings),
            request::GET_ID => self.get_id(chain, status_offset, rings.cx),
            request::DISCARD => self.zero(chain, 0, rings),
            request::WRITE_ZEROES => self.zero(chain, 1, rings),
            _ => (Status::Unsupported, 0),
        };
        if !chain.write(rings.cx, status_offset, &[status as u8]) {
            rings.fail();
            return;
        }
        // Only bytes before the first gap count as written.
        let whole = u64::from(written) == status_offset;
        rings.push(0, chain.head, written + u32::from(whole));
    }

    /// The place on the disk of a range of sectors, if it is there.
    fn place(&self, sector: u64, bytes: u64) -> Option<u64> {
        let fits = bytes.is_multiple_of(SECTOR_SIZE) && bytes <= REQUEST_BYTES_MAX;
        let end = sector.checked_add(bytes / SECTOR_SIZE)?;
        (fits && end <= self.sectors).then(|| sector * SECTOR_SIZE)
    }

    fn read(&self, chain: &Chain, sector: u64, bytes: u64, cx: &mut DeviceCx<'_>) -> Ended {
        let Some(place) = self.place(sector, bytes) else { return (Status::IoError, 0) };
        let mut done = 0;
        while done < bytes {
            let mut buffer = buffer_for(bytes - done);
            let disk = cx.memory.spaces.get(self.space);
            let read = disk.is_some_and(|disk| disk.read(Gpa(place + done), &mut buffer).is_ok());
            if !read || !chain.write(cx, done, &buffer) {
                return (Status::IoError, low_u32(done));
            }
            done += buffer.len() as u64;
        }
        (Status::Ok, low_u32(done))
    }

    fn write(&self, chain: &Chain, sector: u64, cx: &mut DeviceCx<'_>) -> Ended {
        let bytes = chain.readable_size() - HEADER_SIZE;
        let place = self.place(sector, bytes).filter(|_| !self.read_only);
        let Some(place) = place else { return (Status::IoError, 0) };
        let mut done = 0;
        while done < bytes {
            let mut buffer = buffer_for(bytes - done);
            let read = chain.read(cx, HEADER_SIZE + done, &mut buffer);
            let disk = cx.memory.spaces.get_mut(self.space).filter(|_| read);
            if disk.is_none_or(|disk| disk.store(Gpa(place + done), &buffer).is_err()) {
                return (Status::IoError, 0);
            }
            done += buffer.len() as u64;
        }
        (Status::Ok, 0)
    }

    fn flush(&mut self, chain: &Chain, status_offset: u64, rings: &mut Rings<'_, '_>) {
        // A driver that gives the same chain again and again must not fill our memory.
        let room = self.state.flushes.len() < usize::from(QUEUE_SIZE_MAX);
        let Some(at) = chain.writable_at(status_offset).filter(|_| room) else {
            rings.fail();
            return;
        };
        let id = rings.request(self.port, IoOp::Flush);
        self.state.flushes.push((id, chain.head, at.0));
    }

    fn get_id(&self, chain: &Chain, room: u64, cx: &mut DeviceCx<'_>) -> Ended {
        let count = usize::try_from(room).map_or(ID_SIZE, |room| room.min(ID_SIZE));
        if chain.write(cx, 0, &self.id[..count]) {
            (Status::Ok, low_u32(count as u64))
        } else {
            (Status::IoError, 0)
        }
    }

    /// Zeroes ranges: what "write zeroes" must do, and what "discard" may. A page that is zero
    /// already is left alone, so that a discard of an empty disk costs no memory.
    fn zero(&self, chain: &Chain, flags_known: u32, rings: &mut Rings<'_, '_>) -> Ended {
        let bytes = chain.readable_size() - HEADER_SIZE;
        let count = bytes / 16;
        let shape = bytes.is_multiple_of(16) && (1..=RANGES_MAX.into()).contains(&count);
        if self.read_only || !shape {
            return (Status::IoError, 0);
        }
        for index in 0..count {
            let mut range = [0; 16];
            if !chain.read(rings.cx, HEADER_SIZE + 16 * index, &mut range) {
                return (Status::IoError, 0);
            }
            let range = u128::from_le_bytes(range);
            let sector = u64::try_from(range & u128::from(u64::MAX)).expect("masked");
            let sectors = u32::try_from(range >> 64 & 0xffff_ffff).expect("masked");
            let flags = u32::try_from(range >> 96).expect("shifted");
            if flags & !flags_known != 0 {
                return (Status::Unsupported, 0);
            }
            let bytes = u64::from(sectors) * SECTOR_SIZE;
            let end = sector.checked_add(sectors.into()).is_some_and(|end| end <= self.sectors);
            if sectors > RANGE_SECTORS_MAX || !end {
                return (Status::IoError, 0);
            }
            rings.charge(bytes / 8);
            if !self.zero_range(sector * SECTOR_SIZE, bytes, rings.cx) {
                return (Status::IoError, 0);
            }
        }
        (Status::Ok, 0)
    }

    fn zero_range(&self, start: u64, bytes: u64, cx: &mut DeviceCx<'_>) -> bool {
        let Some(disk) = cx.memory.spaces.get_mut(self.space) else { return false };
        let (mut at, end) = (start, start + bytes);
        let mut page = [0; PAGE_SIZE];
        while at < end {
            let count = (PAGE_SIZE_U64 - at % PAGE_SIZE_U64).min(end - at);
            let part = &mut page[..usize::try_from(count).expect("at most a page")];
            if disk.read(Gpa(at), part).is_err() {
                return false;
            }
            if part.iter().any(|&byte| byte != 0) && disk.fill(Gpa(at), count, 0).is_err() {
                return false;
            }
            at += count;
        }
        true
    }
}

impl Model for Block {
    fn device_id(&self) -> u32 {
        2
    }

    fn queue_count(&self) -> usize {
        1
    }

    fn features(&self) -> u64 {
        let shape = feature::SIZE_MAX | feature::SEG_MAX | feature::BLK_SIZE | feature::TOPOLOGY;
        let writing =
            if self.read_only { feature::RO } else { feature::DISCARD | feature::WRITE_ZEROES };
        shape | writing | feature::FLUSH
    }

    fn config(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(60);
        out.extend(self.sectors.to_le_bytes());
        out.extend(SEGMENT_BYTES_MAX.to_le_bytes());
        out.extend(SEGMENTS_MAX.to_le_bytes());
        // No geometry.
        out.extend([0; 4]);
        out.extend(low_u32(SECTOR_SIZE).to_le_bytes());
        // Eight sectors a physical block, aligned; best at a page, to 256 KiB.
        out.extend([3, 0, 8, 0]);
        out.extend(512u32.to_le_bytes());
        // Write-back, padding, queues.
        out.extend([1, 0, 1, 0]);
        out.extend(RANGE_SECTORS_MAX.to_le_bytes());
        out.extend(RANGES_MAX.to_le_bytes());
        out.extend(8u32.to_le_bytes());
        out.extend(RANGE_SECTORS_MAX.to_le_bytes());
        out.extend(RANGES_MAX.to_le_bytes());
        out.extend([1, 0, 0, 0]);
        out
    }

    fn config_write(&mut self, _: u64, _: &[u8], _: &mut DeviceCx<'_>) {}

    fn serve(&mut self, queue: usize, rings: &mut Rings<'_, '_>) {
        while let Some(chain) = rings.pop(queue) {
            self.run(&chain, rings);
        }
    }

    fn input(&mut self, _: PortId, _: &[u8], _: &mut Rings<'_, '_>) -> bool {
        false
    }

    fn io_done(&mut self, id: IoId, result: &IoResult, rings: &mut Rings<'_, '_>) -> bool {
        let found = self.state.flushes.iter().position(|&(flush, _, _)| flush == id);
        let Some(found) = found else { return false };
        let (_, head, at) = self.state.flushes.remove(found);
        if rings.is_live() {
            let status = if result.is_ok() { Status::Ok } else { Status::IoError };
            if rings.cx.dma_write(Gpa(at), &[status as u8]) {
                rings.push(0, head, 1);
            } else {
                rings.fail();
            }
        }
        true
    }

    fn generation(&mut self, _: &[u8; 32], _: &mut Rings<'_, '_>) {}

    fn control(&mut self, _: Control, _: &mut Rings<'_, '_>) {}

    fn pending(&self) -> Vec<IoRequest> {
        let flush = |&(id, _, _): &_| IoRequest { id, port: self.port, op: IoOp::Flush };
        self.state.flushes.iter().map(flush).collect()
    }

    fn driver_reset(&mut self) {
        self.state.flushes.clear();
    }

    fn reset(&mut self) {
        self.state.flushes.clear();
    }

    fn save(&self, path: &str, into: &mut Bundle) {
        into.put(path, &self.state);
    }

    fn load(&mut self, path: &str, from: &mut Bundle) -> Result<(), StateError> {
        let state: BlockState = from.take(path)?;
        let ordered = state.flushes.is_sorted_by(|(a, _, _), (b, _, _)| a < b);
        let heads = state.flushes.iter().all(|&(_, head, _)| head < QUEUE_SIZE_MAX);
        if state.flushes.len() > usize::from(QUEUE_SIZE_MAX) || !ordered || !heads {
            return Err(StateError::Invalid("flushes of a disk"));
        }
        self.state = state;
        Ok(())
    }
}

/// A buffer for the next part of `left` bytes.
fn buffer_for(left: u64) -> Vec<u8> {
    vec![0; usize::try_from(left.min(COPY_SIZE)).expect("at most COPY_SIZE")]
}

/// A count that is known to be at most `REQUEST_BYTES_MAX`.
fn low_u32(count: u64) -> u32 {
    u32::try_from(count).expect("bounded by REQUEST_BYTES_MAX")
}
