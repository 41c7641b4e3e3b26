//! Frames go back to the pool. One test, as the pool is the process's.

use omni_base::{Gpa, PageNo};
use omni_memory::{Space, frames_used};

#[test]
fn every_frame_goes_back_to_the_pool_and_comes_out_clean() {
    const PAGES: u64 = 6000;
    assert_eq!(frames_used(), 0);
    for round in 1..4u8 {
        let mut parent = Space::new("ram", PAGES);
        for no in 0..PAGES {
            parent.store(PageNo(no).base(), &[round]).expect("inside");
        }
        assert_eq!(frames_used(), PAGES);
        let image = parent.seal().image;
        let mut forks: Vec<_> =
            (0..20).map(|_| Space::from_image("ram", PAGES, image.clone())).collect();
        assert_eq!(frames_used(), PAGES, "a fork that writes nothing holds nothing");
        for (at, fork) in forks.iter_mut().enumerate() {
            fork.store(Gpa(at as u64 * 4096), &[9]).expect("inside");
        }
        assert_eq!(frames_used(), PAGES + 20);
        drop(parent);
        drop(image);
        assert_eq!(frames_used(), PAGES + 20, "the forks hold what they share");
        drop(forks);
        assert_eq!(frames_used(), 0);
        // More pages than the pool keeps ready, so that every sort of free frame is seen.
        let mut next = Space::new("ram", PAGES);
        for no in 0..PAGES {
            next.store(Gpa(no * 4096 + 7), &[1]).expect("inside");
            assert_eq!(next.load(PageNo(no).base()), Ok([0, 0, 0, 0, 0, 0, 0, 1, 0]));
        }
    }
}
