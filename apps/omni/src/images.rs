//! Images of distributions: listed, built, shown, removed.

use crate::args::{ChoiceArgs, ImageVerb, SourceArgs};
use crate::failure::Failure;
use crate::plan::system_kind;
use crate::setup::set_up;
use crate::ui::{Ui, size_text, stderr_is_terminal};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use omni_control::Dirs;
use omni_image::{
    Arch, Choices, DebianBuilder, Image, ImageError, Keyring, Mirror, Progress, Reference, Retry,
};
use serde_json::{Value, json};

/// Whether a text is meant as the name of a distribution's image.
pub(crate) fn is_reference(text: &str) -> bool {
    Reference::is_meant(text)
}

/// The image of a reference, built where there is none.
pub(crate) fn open_or_build(
    text: &str,
    arch: &str,
    (source, choices): (&SourceArgs, &ChoiceArgs),
    dirs: &Dirs,
    ui: Ui,
) -> Result<Image, Failure> {
    let reference: Reference = text.parse()?;
    let arch: Arch = arch.parse()?;
    let name = reference.image_name(arch);
    match Image::open(&dirs.images(), &name) {
        Ok(image) if reference.minimal() || image.info.disk.is_some() => {
            fits(&image, text, choices)?;
            return Ok(image);
        }
        Ok(_) => ui.say(&format!("omni: the image {name} is of an older kind, without a disk")),
        Err(ImageError::NoImage(_)) => {}
        Err(error) => return Err(error.into()),
    }
    ui.say(&format!("omni: making the image {name}; this is done once, and takes some minutes"));
    build(reference, arch, (source, choices), dirs)
}

/// Whether an image that is there is one as it was asked for. Its disk's size is not part of that:
/// a machine's can be larger.
fn fits(image: &Image, text: &str, choices: &ChoiceArgs) -> Result<(), Failure> {
    let name = &image.info.name;
    let wrong = |what: String| {
        let text =
            format!("{what}; to make it anew: omni image build {text} with the same options");
        Err(Failure::usage(format!("the image {name} {text}")))
    };
    let there = |wanted: &String| image.info.packages.iter().any(|of| of.name == *wanted);
    if let Some(missing) = choices.packages.iter().find(|wanted| !there(wanted)) {
        return wrong(format!("has no package {missing}"));
    }
    let user = image.info.choices.as_ref().and_then(|choices| choices.user.as_ref());
    match &choices.user {
        Some(wanted) if user != Some(wanted) => wrong(format!("has no user {wanted}")),
        _ => Ok(()),
    }
}

fn build(
    reference: Reference,
    arch: Arch,
    (source, choices): (&SourceArgs, &ChoiceArgs),
    dirs: &Dirs,
) -> Result<Image, Failure> {
    let given = choices.size.is_some() || !choices.packages.is_empty() || choices.user.is_some();
    if reference.minimal() && given {
        let text = "a minimal image has no disk: --size, --package and --user are for debian";
        return Err(Failure::usage(text));
    }
    if !reference.minimal() {
        // Told before anything is fetched: the system is set up in a machine of its kind.
        system_kind(arch.name())?;
    }
    let mirror = source.mirror.as_deref().map(Mirror::new).transpose()?;
    let keyring = source.keyring.as_deref().map(Keyring::from_file).transpose()?;
    let mut progress = Steps::default();
    let cache = dirs.cache.join("downloads");
    let retry = Retry::default();
    let progress = &mut progress;
    let minimal = reference.minimal();
    let builder = DebianBuilder { mirror, reference, arch, cache, keyring, retry, progress };
    if minimal {
        return Ok(builder.build(&dirs.images())?);
    }
    let choices = Choices {
        disk_bytes: choices.size.unwrap_or_default(),
        packages: choices.packages.clone(),
        user: choices.user.clone(),
    };
    let log = dirs.cache.join("setup.log");
    Ok(builder.build_system(&dirs.images(), &choices, &mut |setup, progress| {
        set_up(setup, &log, progress)
    })?)
}

/// Does what a verb of images asks.
pub(crate) fn verb(verb: &ImageVerb, dirs: &Dirs, ui: Ui) -> Result<(), Failure> {
    match verb {
        ImageVerb::Ls => list(dirs, ui),
        ImageVerb::Build { reference, arch, source, choices } => {
            let image = build(reference.parse()?, arch.parse()?, (source, choices), dirs)?;
            ui.result(describe(&image), &image.info.name)
        }
        ImageVerb::Inspect { name } => {
            let image = Image::open(&dirs.images(), &name_of(name))?;
            if ui.json {
                return ui.object(describe(&image));
            }
            let text = serde_json::to_string_pretty(&describe(&image)).expect("plain data");
            ui.line(&text)
        }
        ImageVerb::Rm { names } => names.iter().try_for_each(|name| {
            let name = name_of(name);
            Image::remove(&dirs.images(), &name)?;
            ui.result(json!({ "name": name, "removed": true }), &name)
        }),
    }
}

/// A reference stands for its image on the default architecture.
fn name_of(text: &str) -> String {
    let reference: Option<Reference> = text.parse().ok();
    reference.map_or_else(|| text.to_owned(), |of| of.image_name(Arch::Riscv64))
}

fn list(dirs: &Dirs, ui: Ui) -> Result<(), Failure> {
    let images = Image::list(&dirs.images())?;
    if ui.json {
        return images.iter().try_for_each(|image| ui.object(describe(image)));
    }
    let row = |image: &Image| {
        let info = &image.info;
        let size = size_text(image.bytes());
        let kernel = info.kernel_version.clone();
        vec![info.name.clone(), info.arch.name().into(), kernel, size, info.built.clone()]
    };
    let rows: Vec<_> = images.iter().map(row).collect();
    ui.table(&["NAME", "ARCH", "KERNEL", "SIZE", "BUILT"], &rows)
}

fn describe(image: &Image) -> Value {
    let info = &image.info;
    let package = |package: &omni_image::PackageInfo| {
        json!({
            "name": package.name,
            "version": package.version,
            "sha256": package.sha256.to_string(),
        })
    };
    json!({
        "name": info.name,
        "distribution": info.distribution,
        "suite": info.suite,
        "codename": info.codename,
        "arch": info.arch.name(),
        "kernel_version": info.kernel_version,
        "cmdline": info.cmdline,
        "built": info.built,
        "release_date": info.release_date,
        "signed_by": info.signed_by,
        "bytes": image.bytes(),
        "disk_bytes": info.disk.as_ref().map(|disk| disk.size),
        "disk_sha256": info.disk.as_ref().map(|disk| disk.sha256.to_string()),
        "user": info.choices.as_ref().and_then(|choices| choices.user.as_ref()),
        "folder": image.folder().display().to_string(),
        "packages": info.packages.iter().map(package).collect::<Vec<_>>(),
    })
}

/// Shows steps: as bars where a person looks, as lines elsewhere.
#[derive(Default)]
pub(crate) struct Steps {
    bar: Option<ProgressBar>,
}

impl Progress for Steps {
    fn begin(&mut self, name: &str, total: Option<u64>) {
        if !stderr_is_terminal() {
            Ui { json: false }.say(&format!("omni: {name}"));
            return;
        }
        let bar = match total {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::new_spinner(),
        };
        bar.set_draw_target(ProgressDrawTarget::stderr());
        let shape = match total {
            Some(_) => "{msg:40!} {bar:24} {bytes:>11} / {total_bytes:11} {bytes_per_sec}",
            None => "{msg:40!} {spinner} {bytes}",
        };
        bar.set_style(ProgressStyle::with_template(shape).expect("the template is sound"));
        bar.set_message(name.to_owned());
        self.bar = Some(bar);
    }

    fn advance(&mut self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
        }
    }

    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish();
        }
    }
}
