//! Frames go back to the pool. One test, as the pool is the process's.

use omni_base::{Gpa, PageNo};
use omni_memory::{Page, Space, frames_used};

#[test]
fn every_frame_goes_back_to_the_pool_and_comes_out_clean() {
    const PAGES: u64 = 6000;
    assert_eq!(frames_used(), 0);
    let zero = Page::zero();
    assert_eq!((zero.digest(), frames_used()), (None, 1));
    for round in 1..4u8 {
        let mut parent = Space::new("ram", PAGES);
        for no in 0..PAGES {
            parent.store(PageNo(no).base(), &[round]).expect("inside");
        }
        assert_eq!(frames_used(), 1 + PAGES);
        let image = parent.seal().image;
        let mut forks: Vec<_> =
            (0..20).map(|_| Space::from_image("ram", PAGES, image.clone())).collect();
        assert_eq!(frames_used(), 1 + PAGES, "a fork that writes nothing holds nothing");
        for (at, fork) in forks.iter_mut().enumerate() {
            fork.store(Gpa(at as u64 * 4096), &[9]).expect("inside");
        }
        assert_eq!(frames_used(), 1 + PAGES + 20);
        drop(parent);
        drop(image);
        assert_eq!(frames_used(), 1 + PAGES + 20, "the forks hold what they share");
        drop(forks);
        assert_eq!(frames_used(), 1);
        // More pages than the pool keeps ready, so that every sort of free frame is seen.
        let mut next = Space::new("ram", PAGES);
        for no in 0..PAGES {
            next.store(Gpa(no * 4096 + 7), &[1]).expect("inside");
            assert_eq!(next.load(PageNo(no).base()), Ok([0, 0, 0, 0, 0, 0, 0, 1, 0]));
        }
        let image = next.seal().image;
        next.store(Gpa(0), &[round; 4096]).expect("inside");
        next.clear((0..PAGES / 2).map(PageNo));
        assert_eq!(frames_used(), PAGES + 1, "an image holds what it shares");
        drop(image);
        next.clear((0..PAGES).map(PageNo));
        assert_eq!(frames_used(), 1);
        assert_eq!(next.seal().image.digest(), Space::new("ram", PAGES).seal().image.digest());
        next.fill(Gpa(0), PAGES * 4096, round).expect("inside");
        assert_eq!(frames_used(), PAGES + 1);
    }
}
