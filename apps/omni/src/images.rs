//! Images of distributions: listed, built, shown, removed.

use crate::args::{ImageVerb, SourceArgs};
use crate::failure::Failure;
use crate::ui::{Ui, size_text, stderr_is_terminal};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use omni_control::Dirs;
use omni_image::{
    Arch, DebianBuilder, Image, ImageError, Keyring, Mirror, Progress, Reference, Retry,
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
    source: &SourceArgs,
    dirs: &Dirs,
    ui: Ui,
) -> Result<Image, Failure> {
    let reference: Reference = text.parse()?;
    let arch: Arch = arch.parse()?;
    let name = reference.image_name(arch);
    match Image::open(&dirs.images(), &name) {
        Ok(image) => return Ok(image),
        Err(ImageError::NoImage(_)) => {}
        Err(error) => return Err(error.into()),
    }
    ui.say(&format!("omni: making the image {name}; this is done once"));
    build(reference, arch, source, dirs)
}

fn build(
    reference: Reference,
    arch: Arch,
    source: &SourceArgs,
    dirs: &Dirs,
) -> Result<Image, Failure> {
    let mirror = source.mirror.as_deref().map(Mirror::new).transpose()?;
    let keyring = source.keyring.as_deref().map(Keyring::from_file).transpose()?;
    let mut progress = Steps::default();
    let cache = dirs.cache.join("downloads");
    let retry = Retry::default();
    let progress = &mut progress;
    let builder = DebianBuilder { mirror, reference, arch, cache, keyring, retry, progress };
    Ok(builder.build(&dirs.images())?)
}

/// Does what a verb of images asks.
pub(crate) fn verb(verb: &ImageVerb, dirs: &Dirs, ui: Ui) -> Result<(), Failure> {
    match verb {
        ImageVerb::Ls => list(dirs, ui),
        ImageVerb::Build { reference, arch, source } => {
            let image = build(reference.parse()?, arch.parse()?, source, dirs)?;
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
        let size = size_text(info.kernel.size + info.initrd.size);
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
        "bytes": info.kernel.size + info.initrd.size,
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
