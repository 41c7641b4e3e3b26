//! Images made from an archive on this machine: what is in them, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "the archive has more than these tests use")]
mod archive;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use archive::server::Server;
use archive::{Archive, KERNEL, KERNEL_VERSION, Packing, deb, folder, keyring, new_key};
use omni_image::{
    Arch, DebianBuilder, Image, ImageError, Keyring, Mirror, Progress, Retry, Silent,
};

const KERNEL_DEB: &str = "pool/main/linux-image-6.12.1+deb13-riscv64_1_riscv64.deb";
const IN_RELEASE: &str = "dists/trixie/InRelease";
const PACKAGES: &str = "dists/trixie/main/binary-riscv64/Packages.xz";

/// A served archive, with folders for downloads and images and the keyring that fits it.
struct Scene {
    server: Server,
    cache: PathBuf,
    images: PathBuf,
    keyring: PathBuf,
}

impl Scene {
    fn new(name: &str, archive: Archive) -> Self {
        let home = folder(name);
        let file = home.join("keyring.gpg");
        fs::write(&file, keyring(&archive.key)).unwrap();
        Self {
            server: Server::start(archive.files),
            cache: home.join("cache"),
            images: home.join("images"),
            keyring: file,
        }
    }

    fn build(&self) -> Result<Image, ImageError> {
        self.build_with("debian-minimal:trixie", &mut Silent)
    }

    fn build_with(
        &self,
        reference: &str,
        progress: &mut dyn Progress,
    ) -> Result<Image, ImageError> {
        let builder = DebianBuilder {
            mirror: Some(Mirror::new(&self.server.address)?),
            reference: reference.parse()?,
            arch: Arch::Riscv64,
            cache: self.cache.clone(),
            keyring: Some(Keyring::from_file(&self.keyring)?),
            retry: Retry { attempts: 3, pause: Duration::from_millis(1) },
            progress,
        };
        builder.build(&self.images)
    }

    /// Files in the cache whose name ends so.
    fn cached(&self, end: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.cache.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.to_string_lossy().ends_with(end) {
                    found.push(path);
                }
            }
        }
        found
    }
}

/// Whether an archive of files holds this text.
fn holds(initrd: &Path, text: &str) -> bool {
    let bytes = fs::read(initrd).unwrap();
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn an_image_holds_the_kernel_as_it_is_and_what_its_modules_need() {
    let scene = Scene::new("good", Archive::new());
    let image = scene.build().unwrap();
    assert_eq!(fs::read(image.kernel()).unwrap(), KERNEL);
    assert_eq!(image.info.kernel_version, KERNEL_VERSION);
    assert_eq!(image.info.name, "debian-minimal-trixie-riscv64");
    assert_eq!(image.info.packages.len(), 9);
    let initrd = image.initrd();
    for text in ["#!busybox", "lib/odd-need.ko", "libext2fs.so.2", "usr/sbin/mke2fs"] {
        assert!(holds(&initrd, text), "{text}");
    }
    assert!(holds(&initrd, "kernel/drivers/net/virtio_net.ko: kernel/lib/odd-need.ko\n"));
    assert!(holds(&initrd, "alias virtio:d1v* virtio_net\n"));
    assert!(!holds(&initrd, "unwanted"));

    assert_eq!(Image::open(&scene.images, "debian-minimal-trixie-riscv64").unwrap(), image);
    assert_eq!(Image::list(&scene.images).unwrap(), [image]);
    Image::remove(&scene.images, "debian-minimal-trixie-riscv64").unwrap();
    assert_eq!(Image::list(&scene.images).unwrap(), []);
    assert_eq!(fs::read_dir(&scene.images).unwrap().count(), 0);
}

#[test]
fn a_second_build_fetches_nothing_again_and_makes_the_same_bytes() {
    let scene = Scene::new("again", Archive::new());
    let first = scene.build().unwrap();
    let second = scene.build().unwrap();
    assert_eq!(first.info.initrd, second.info.initrd);
    assert_eq!(scene.server.requests(KERNEL_DEB), [(None, 200)]);
    assert_eq!(scene.server.requests(IN_RELEASE), [(None, 200), (None, 304)]);
}

#[test]
fn a_release_by_an_unknown_key_or_changed_after_signing_is_refused() {
    let mut archive = Archive::new();
    let genuine = archive.key.clone();
    archive.key = new_key();
    archive.set_release("Suite: stable\nCodename: trixie\n");
    archive.key = genuine;
    let error = Scene::new("wrong-key", archive).build().unwrap_err();
    assert!(matches!(error, ImageError::Signature { .. }), "{error}");

    let mut archive = Archive::new();
    let text = String::from_utf8(archive.files[IN_RELEASE].clone()).unwrap();
    let changed = text.replace("Origin: Debian", "Origin: Debiam");
    archive.files.insert(IN_RELEASE.to_owned(), changed.into_bytes());
    let error = Scene::new("changed", archive).build().unwrap_err();
    assert!(matches!(error, ImageError::Signature { .. }), "{error}");
}

#[test]
fn text_outside_the_signature_does_not_count() {
    let mut archive = Archive::new();
    let signed = archive.files[IN_RELEASE].clone();
    let mut text = b"Codename: other\n".to_vec();
    text.extend(&signed);
    archive.files.insert(IN_RELEASE.to_owned(), text);
    let error = Scene::new("outside", archive).build().unwrap_err();
    assert!(matches!(error, ImageError::Signature { .. }), "{error}");
}

#[test]
fn an_index_or_a_package_that_was_changed_is_refused() {
    for path in [PACKAGES, KERNEL_DEB] {
        let mut archive = Archive::new();
        archive.damage(path);
        let scene = Scene::new("damaged", archive);
        let error = scene.build().unwrap_err();
        assert!(matches!(error, ImageError::Mismatch { .. }), "{path}: {error}");
        assert!(Image::list(&scene.images).unwrap().is_empty());
    }
}

#[test]
fn a_signature_in_a_file_of_its_own_serves_where_there_is_no_other() {
    let mut archive = Archive::new();
    archive.files.remove(IN_RELEASE);
    Scene::new("detached", archive).build().unwrap();

    let mut archive = Archive::new();
    archive.files.remove(IN_RELEASE);
    archive.damage("dists/trixie/Release");
    let error = Scene::new("detached-damaged", archive).build().unwrap_err();
    assert!(matches!(error, ImageError::Signature { .. }), "{error}");
}

#[test]
fn a_cut_download_goes_on_where_it_stopped() {
    let scene = Scene::new("cut", Archive::new());
    let cut = [(KERNEL_DEB.to_owned(), (2, 100))];
    scene.server.served.lock().unwrap().cuts.extend(cut);
    scene.build().unwrap();
    let ranges = scene.server.requests(KERNEL_DEB);
    let range = |from: u32| Some(format!("bytes={from}-"));
    assert_eq!(ranges, [(None, 200), (range(100), 206), (range(200), 206)]);
}

#[test]
fn a_server_without_ranges_still_serves() {
    let scene = Scene::new("no-ranges", Archive::new());
    {
        let mut served = scene.server.served.lock().unwrap();
        served.ranges = false;
        served.cuts.insert(KERNEL_DEB.to_owned(), (2, 100));
    }
    scene.build().unwrap();
}

#[test]
fn a_network_that_fails_for_good_leaves_what_has_arrived_for_the_next_time() {
    let scene = Scene::new("give-up", Archive::new());
    let patience = 2;
    {
        let mut served = scene.server.served.lock().unwrap();
        // Some bytes at first, then none any more.
        served.cuts.insert(KERNEL_DEB.to_owned(), (1, 64));
    }
    scene.build().unwrap();
    let whole = scene.cached("").len();
    let home = Scene::new("give-up", Archive::new());
    home.server.served.lock().unwrap().cuts.insert(KERNEL_DEB.to_owned(), (patience + 2, 0));
    let error = home.build().unwrap_err();
    assert!(matches!(error, ImageError::Network { .. }), "{error}");
    assert!(error.to_string().contains("run the same command again"), "{error}");
    assert_eq!(home.cached(".part").len(), 1);
    home.server.served.lock().unwrap().cuts.clear();
    home.build().unwrap();
    assert_eq!(home.cached(".part").len(), 0);
    assert_eq!(home.cached("").len(), whole);
}

#[test]
fn a_partial_file_of_something_else_is_thrown_away() {
    let scene = Scene::new("foreign-part", Archive::new());
    scene.build().unwrap();
    let (mut files, mut folders) = (Vec::new(), vec![scene.cache.join("sha256")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    for file in files {
        fs::rename(&file, file.with_extension("part")).unwrap();
        fs::write(file.with_extension("part"), b"not the beginning").unwrap();
    }
    scene.build().unwrap();
}

#[test]
fn a_full_disk_is_named_and_the_download_kept_for_later() {
    let scene = Scene::new("full", Archive::new());
    scene.build().unwrap();
    // The device that is always full takes the place of one partial file.
    let newest = scene.cached("").into_iter().find(|path| {
        fs::read(path).unwrap() == scene.server.served.lock().unwrap().files[KERNEL_DEB]
    });
    let newest = newest.unwrap();
    fs::remove_file(&newest).unwrap();
    std::os::unix::fs::symlink("/dev/full", newest.with_extension("part")).unwrap();
    let error = scene.build().unwrap_err();
    assert!(matches!(error, ImageError::Disk { .. }), "{error}");
    assert!(error.to_string().contains("free some space"), "{error}");
    assert!(
        Image::open(&scene.images, "debian-minimal-trixie-riscv64").is_ok(),
        "the old one stays"
    );
}

#[test]
fn a_suite_that_the_mirror_does_not_have_is_an_answer_not_a_wait() {
    let scene = Scene::new("no-suite", Archive::new());
    let error = scene.build_with("debian-minimal:forky", &mut Silent).unwrap_err();
    assert!(matches!(error, ImageError::Status { status: 404, .. }), "{error}");
}

#[test]
fn a_release_of_another_suite_is_refused() {
    let mut archive = Archive::new();
    let release = archive.files[IN_RELEASE].clone();
    archive.files.insert("dists/bookworm/InRelease".to_owned(), release);
    let error = Scene::new("other", archive)
        .build_with("debian-minimal:bookworm", &mut Silent)
        .unwrap_err();
    assert!(matches!(error, ImageError::Release { .. }), "{error}");
}

#[test]
fn a_package_whose_files_leave_the_root_is_refused() {
    let mut archive = Archive::new();
    let evil = deb(Packing::Xz, &[("../../etc/passwd", b"x"), ("./bin/busybox", b"y")]);
    let index = replaced(&mut archive, "busybox-static", evil);
    archive.set_index(&index);
    let error = Scene::new("evil", archive).build().unwrap_err();
    assert!(matches!(error, ImageError::Malformed { .. }), "{error}");
}

#[test]
fn a_package_without_its_program_is_named() {
    let mut archive = Archive::new();
    let empty = deb(Packing::Xz, &[("./usr/share/doc/x", b"x")]);
    let index = replaced(&mut archive, "busybox-static", empty);
    archive.set_index(&index);
    let error = Scene::new("empty", archive).build().unwrap_err();
    assert!(error.to_string().contains("busybox-static"), "{error}");
}

/// The index with one package's file replaced.
fn replaced(archive: &mut Archive, name: &str, bytes: Vec<u8>) -> String {
    let paths: Vec<String> =
        archive.files.keys().filter(|path| path.starts_with("pool/")).cloned().collect();
    archive.add_deb(name, bytes);
    let entries = paths.iter().map(|path| {
        let package = path.strip_prefix("pool/main/").unwrap().strip_suffix("_1_riscv64.deb");
        let package = package.unwrap();
        let depends = match package {
            "linux-image-riscv64" => format!("linux-image-{KERNEL_VERSION}"),
            _ => String::new(),
        };
        archive.entry(package, path, &depends)
    });
    entries.collect()
}

#[test]
fn progress_of_every_step_adds_up() {
    #[derive(Default)]
    struct Sums {
        open: Option<(Option<u64>, u64)>,
        steps: usize,
    }
    impl Progress for Sums {
        fn begin(&mut self, _name: &str, total: Option<u64>) {
            assert!(self.open.replace((total, 0)).is_none(), "steps do not nest");
        }
        fn advance(&mut self, bytes: u64) {
            self.open.as_mut().expect("a step is open").1 += bytes;
        }
        fn end(&mut self) {
            let (total, done) = self.open.take().expect("a step is open");
            assert!(total.is_none_or(|total| done <= total), "{done} of {total:?}");
            self.steps += 1;
        }
    }
    let scene = Scene::new("progress", Archive::new());
    scene.server.served.lock().unwrap().cuts.insert(KERNEL_DEB.to_owned(), (3, 50));
    let mut sums = Sums::default();
    scene.build_with("debian-minimal", &mut sums).unwrap();
    assert!(sums.open.is_none());
    assert!(sums.steps > 15, "{}", sums.steps);
}

#[test]
fn a_damaged_image_says_to_build_it_again() {
    let scene = Scene::new("damaged-image", Archive::new());
    let image = scene.build().unwrap();
    fs::write(image.initrd(), b"short").unwrap();
    let error = Image::open(&scene.images, "debian-minimal-trixie-riscv64").unwrap_err();
    assert!(error.to_string().contains("omni image build"), "{error}");
    assert!(Image::list(&scene.images).unwrap().is_empty());
    scene.build().unwrap();
    assert!(Image::open(&scene.images, "debian-minimal-trixie-riscv64").is_ok());
    for name in ["", "..", "../x", "none", "/etc"] {
        let error = Image::open(&scene.images, name).unwrap_err();
        assert!(matches!(error, ImageError::NoImage(_)), "{name:?}: {error}");
    }
}
