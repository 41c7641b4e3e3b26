//! Images of whole systems from an archive on this machine: what a machine is given to set up, and
//! what is refused. No machine runs here.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "the archive has more than these tests use")]
mod archive;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use archive::server::Server;
use archive::{Archive, KERNEL, KERNEL_VERSION, folder, keyring};
use omni_image::{
    Arch, Choices, DebianBuilder, Image, ImageError, Keyring, Mirror, Retry, Setup, Silent,
};

const NAME: &str = "debian-trixie-riscv64";

/// A served archive, with folders for downloads and images.
struct Scene {
    server: Server,
    home: PathBuf,
}

impl Scene {
    fn new(name: &str) -> Self {
        let (home, archive) = (folder(name), Archive::whole());
        fs::write(home.join("keyring.gpg"), keyring(&archive.key)).unwrap();
        Self { server: Server::start(archive.files), home }
    }

    fn images(&self) -> PathBuf {
        self.home.join("images")
    }

    fn build(
        &self,
        choices: &Choices,
        mut machine: impl FnMut(&Setup<'_>) -> Result<(), ImageError>,
    ) -> Result<Image, ImageError> {
        let builder = DebianBuilder {
            mirror: Some(Mirror::new(&self.server.address)?),
            reference: "debian".parse()?,
            arch: Arch::Riscv64,
            cache: self.home.join("cache"),
            keyring: Some(Keyring::from_file(&self.home.join("keyring.gpg"))?),
            retry: Retry { attempts: 2, pause: Duration::from_millis(1) },
            progress: &mut Silent,
        };
        builder.build_system(&self.images(), choices, &mut |setup, _| machine(setup))
    }
}

/// A machine that finds nothing to do.
fn idle(setup: &Setup<'_>) -> Result<(), ImageError> {
    fs::write(setup.disk, b"a disk").unwrap();
    Ok(())
}

fn choices(packages: &[&str]) -> Choices {
    let packages = packages.iter().map(|&name| name.to_owned()).collect();
    Choices { packages, ..Choices::default() }
}

/// The files of what a machine unpacks, by path.
fn unpacked(setup: &Setup<'_>) -> BTreeMap<String, String> {
    let bytes = fs::read(setup.seed).unwrap();
    assert_eq!(bytes.len() % 4096, 0, "a disk has whole sectors");
    let mut archive = tar::Archive::new(&bytes[..]);
    let mut files = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_string_lossy().into_owned();
        assert_eq!(entry.header().uid().unwrap(), 0);
        let link = entry.link_name().unwrap().map(|link| format!("-> {}", link.display()));
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let text = link.unwrap_or_else(|| String::from_utf8_lossy(&bytes).into_owned());
        assert_eq!(files.insert(path.clone(), text), None, "{path} comes once");
    }
    files
}

#[test]
fn a_machine_is_given_every_package_as_dpkg_would_have_unpacked_it() {
    let scene = Scene::new("system");
    let mut files = BTreeMap::new();
    let choices = Choices { user: None, ..choices(&["extra"]) };
    let image = scene.build(&choices, |setup| {
        files = unpacked(setup);
        assert_eq!(setup.kernel, KERNEL);
        assert!(!setup.repeatable, "chosen packages may make secrets");
        idle(setup)
    });
    let image = image.unwrap();
    assert_eq!(files["usr/bin/tool"], "tool");
    assert_eq!(files["bin"], "-> usr/bin");
    assert_eq!(files["etc/base.conf.dpkg-new"], "conf");
    assert!(!files.contains_key("etc/base.conf"), "dpkg puts it in place");
    assert_eq!(files["var/lib/dpkg/info/base.list"], "/.\n/bin/tool\n/etc/base.conf\n");
    assert!(files.contains_key("var/lib/dpkg/info/base.postinst"));
    let status = &files["var/lib/dpkg/status"];
    assert!(status.contains("Package: another\n"), "what provides a need, the first by name");
    assert!(!status.contains("Package: other\n") && !status.contains("Package: clash\n"));
    assert!(
        status.contains("Status: install ok unpacked\nConffiles:\n /etc/base.conf newconffile")
    );
    let sources = &files["etc/apt/sources.list.d/debian.sources"];
    assert!(sources.contains(&format!("URIs: {}\nSuites: trixie\n", scene.server.address)));
    assert!(!sources.contains("security"), "the mirror has none: {sources}");

    assert_eq!(image.info.disk.as_ref().unwrap().size, 6);
    assert_eq!(fs::read(image.disk().unwrap()).unwrap(), b"a disk");
    assert!(image.info.cmdline.contains("root=/dev/vda"));
    assert!(image.info.ready.as_ref().unwrap().contains(KERNEL_VERSION));
    assert!(image.info.packages.iter().any(|package| package.name == "extra"));
    assert_eq!(Image::open(&scene.images(), NAME).unwrap(), image);
    let mut left: Vec<_> =
        fs::read_dir(image.folder()).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["disk", "image.json", "initrd", "kernel"]);
}

#[test]
fn equal_packages_are_given_as_equal_bytes() {
    let scene = Scene::new("equal");
    let mut seeds = Vec::new();
    for _ in 0..2 {
        let built = scene.build(&Choices::default(), |setup| {
            assert!(setup.repeatable);
            seeds.push((fs::read(setup.seed).unwrap(), setup.initrd.to_vec(), setup.epoch_s));
            idle(setup)
        });
        built.unwrap();
    }
    assert!(seeds[0] == seeds[1]);
}

#[test]
fn choices_that_cannot_be_met_are_told_before_a_machine_runs() {
    let scene = Scene::new("choices");
    let small = Choices { disk_bytes: 64 << 20, ..Choices::default() };
    for (choices, words) in [
        (choices(&["nonesuch"]), "there is no package nonesuch in trixie"),
        (choices(&["clash", "extra"]), "packages clash and extra exclude each other"),
        (choices(&["a b"]), "cannot be the name of a package"),
        (small, "the packages do not fit on a disk of this size"),
    ] {
        let error = scene.build(&choices, |_| panic!("it runs")).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_machine_that_fails_leaves_the_image_of_before() {
    let scene = Scene::new("fails");
    let image = scene.build(&Choices::default(), idle).unwrap();
    let failed = |_: &Setup<'_>| {
        Err(ImageError::Setup { reason: "no room".into(), log: Some("setup.log".into()) })
    };
    let error = scene.build(&Choices::default(), failed).unwrap_err().to_string();
    assert!(error.contains("no room") && error.contains("setup.log"), "{error}");
    assert_eq!(Image::open(&scene.images(), NAME).unwrap(), image);
    let error = scene.build(&Choices::default(), |_| Ok(())).unwrap_err();
    assert!(matches!(error, ImageError::Disk { .. }), "no disk was written: {error}");
    assert_eq!(fs::read_dir(scene.images()).unwrap().count(), 1, "no draft is left");
}
