//! The verbs of disk images: made, shown, resized, converted, checked.

use crate::args::size;
use crate::failure::{Failure, code};
use crate::images::Steps;
use crate::plan::no_file;
use crate::ui::{Ui, size_text};
use clap::{Args, Subcommand};
use omni_disk::{
    Chain, Check, Compression, Format, FormatError, ImageError, Info, Snapshot, Target, WriteAt,
    convert, create, resize_qcow2,
};
use omni_host::{ChangedImage, DiskImage, DiskSource, NewImage, Processors, RawFile, random_u64};
use omni_image::Progress;
use serde_json::{Value, json};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What to do with disk images.
#[derive(Debug, Subcommand)]
pub(crate) enum DiskVerb {
    /// Make an empty disk image, or one above another image
    Create {
        /// The new file
        file: PathBuf,
        /// Its size, such as 8G; that of the image below where there is one
        #[arg(value_parser = size, required_unless_present = "backing")]
        size: Option<u64>,
        #[command(flatten)]
        sort: SortArgs,
        /// The image below, which is then not to be changed any more; the new one is a qcow2
        #[arg(long, value_name = "FILE")]
        backing: Option<PathBuf>,
        /// The format of the image below, rather than by its content
        #[arg(long, value_name = "FORMAT", value_parser = format, requires = "backing")]
        backing_format: Option<Format>,
    },
    /// What disk images are: format, sizes, images below, snapshots
    Info {
        /// The files
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        source: SourceArgs,
    },
    /// Give a raw or qcow2 image another size, in place
    Resize {
        /// The file, which no machine may use
        file: PathBuf,
        /// The new size, such as 8G; or what is added to the old one: +1G
        #[arg(allow_hyphen_values = true)]
        size: String,
        /// Let it become smaller, and lose what is at its end
        #[arg(long)]
        shrink: bool,
        #[command(flatten)]
        source: SourceArgs,
    },
    /// Copy a disk into an image of another format
    Convert {
        /// The image, of any format
        from: PathBuf,
        /// The new file
        to: PathBuf,
        #[command(flatten)]
        sort: SortArgs,
        /// Compress it, which qcow2 can: zlib is read by all programs, zstd is faster
        #[arg(long, short, value_name = "HOW", num_args = 0..=1, default_missing_value = "zlib",
            require_equals = true, value_parser = compression)]
        compress: Option<Compression>,
        /// The format of the image, rather than by its content
        #[arg(long, value_name = "FORMAT", value_parser = format)]
        from_format: Option<Format>,
        /// Let the image name files outside of its own folder
        #[arg(long)]
        follow: bool,
    },
    /// Look for damage and lost space in the tables of an image
    ///
    /// Exit code 0: sound; 1: only lost space, all data is there; 9: damaged.
    Check {
        /// The file
        file: PathBuf,
        #[command(flatten)]
        source: SourceArgs,
    },
}

/// How an image is read.
#[derive(Debug, Args)]
pub(crate) struct SourceArgs {
    /// Its format, rather than by its content
    #[arg(long, short, value_name = "FORMAT", value_parser = format)]
    format: Option<Format>,
    /// Let the image name files outside of its own folder
    #[arg(long)]
    follow: bool,
}

/// What is made.
#[derive(Debug, Args)]
pub(crate) struct SortArgs {
    /// Its format: raw, qcow2, vmdk, vdi, vhd, vhdx; by the end of its name unless given
    #[arg(long, short, visible_short_alias = 'O', value_name = "FORMAT", value_parser = format)]
    format: Option<Format>,
    /// The sort within the format: vmdk has monolithicSparse and streamOptimized, vhd has dynamic
    /// and fixed
    #[arg(long, value_name = "SORT")]
    subformat: Option<String>,
    /// Replace the file where it is there already
    #[arg(long)]
    force: bool,
}

fn format(name: &str) -> Result<Format, String> {
    Format::of_name(name).ok_or_else(|| no_format(name).text)
}

fn compression(name: &str) -> Result<Compression, String> {
    match name {
        "zlib" => Ok(Compression::Zlib),
        "zstd" => Ok(Compression::Zstd),
        _ => Err("compression is by zlib or zstd".into()),
    }
}

/// A format that is none.
pub(crate) fn no_format(name: &str) -> Failure {
    let names: Vec<_> = Format::ALL.iter().map(|format| format.name()).collect();
    Failure::usage(format!("'{name}' is no format of disk images: there are {}", names.join(", ")))
}

/// Does what a verb of disks asks, and gives the exit code.
pub(crate) fn verb(verb: &DiskVerb, ui: Ui) -> Result<u8, Failure> {
    match verb {
        DiskVerb::Create { file, size, sort, backing, backing_format } => {
            let below = backing.as_deref().map(|path| (path, *backing_format));
            make(file, *size, sort, below, ui)?;
        }
        DiskVerb::Info { files, source } => {
            files.iter().try_for_each(|file| show(&source_of(file, source)?, ui))?;
        }
        DiskVerb::Resize { file, size, shrink, source } => {
            resize(&source_of(file, source)?, size, *shrink, ui)?;
        }
        DiskVerb::Convert { from, to, sort, compress, from_format, follow } => {
            let source = SourceArgs { format: *from_format, follow: *follow };
            copy(&source_of(from, &source)?, to, sort, *compress, ui)?;
        }
        DiskVerb::Check { file, source } => return check(&source_of(file, source)?, ui),
    }
    Ok(0)
}

/// Where a disk comes from. Told apart already: a file that is not there.
fn source_of(path: &Path, args: &SourceArgs) -> Result<DiskSource, Failure> {
    RawFile::open(path).map_err(|error| no_file(path, &error))?;
    Ok(DiskSource { path: path.into(), format: args.format, follow: args.follow })
}

fn target(path: &Path, sort: &SortArgs, otherwise: Option<Format>) -> Result<Target, Failure> {
    let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default();
    let by_name = match end {
        "img" => Some(Format::Raw),
        end => Format::of_name(end),
    };
    let format = sort.format.or(by_name).or(otherwise).ok_or_else(|| {
        let path = path.display();
        Failure::usage(format!("the name {path} does not tell a format: give it with --format"))
    })?;
    if !sort.force && path.symlink_metadata().is_ok() {
        return Err(exists(path));
    }
    let unique = [random_u64().to_le_bytes(), random_u64().to_le_bytes()];
    let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Target {
        format,
        subformat: sort.subformat.clone(),
        compression: None,
        backing: None,
        unique: *unique.as_flattened().first_chunk().expect("two times eight bytes"),
        seconds: u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0),
        file_name,
    })
}

fn exists(path: &Path) -> Failure {
    let text = format!("{} is there already: --force replaces it", path.display());
    Failure::new(code::EXISTS, text)
}

fn at(path: &Path) -> impl Fn(io::Error) -> Failure + '_ {
    move |error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            exists(path)
        } else {
            Failure::io(&path.display().to_string(), &error)
        }
    }
}

fn failed(path: &Path, format: Format) -> impl Fn(FormatError) -> Failure + '_ {
    move |error| ImageError { name: path.into(), format, error }.into()
}

fn make(
    path: &Path,
    bytes: Option<u64>,
    sort: &SortArgs,
    below: Option<(&Path, Option<Format>)>,
    ui: Ui,
) -> Result<(), Failure> {
    let mut target = target(path, sort, below.map(|_| Format::Qcow2))?;
    let mut below_bytes = None;
    if let Some((backing, format)) = below {
        // Names in an image are relative to it, so the one below is found from there.
        let folder = path.parent().unwrap_or(Path::new(""));
        let place = folder.join(backing);
        RawFile::open(&place).map_err(|error| no_file(&place, &error))?;
        let image = DiskImage::open(&DiskSource { path: place, format, follow: true })?;
        let format = image.chain().images().next().map_or(Format::Raw, |(_, info)| info.format);
        let name = backing.to_str().ok_or_else(|| {
            Failure::usage("the name of the image below is not UTF-8, as qcow2 needs it")
        })?;
        target.backing = Some((name.into(), format));
        below_bytes = Some(image.chain().bytes().next_multiple_of(512));
    }
    let bytes = bytes.or(below_bytes).unwrap_or_default();
    let mut file = NewImage::create(path).map_err(at(path))?;
    create(&target, bytes, &mut file).map_err(failed(path, target.format))?;
    file.keep(sort.force).map_err(at(path))?;
    done(path, target.format, ui)
}

/// Tells of an image that was made or changed.
fn done(path: &Path, format: Format, ui: Ui) -> Result<(), Failure> {
    let source = DiskSource { format: Some(format), ..DiskSource::new(path) };
    let image = DiskImage::open_top(&source)?;
    let (bytes, taken) = (image.chain().bytes(), image.allocated());
    let value = json!({
        "file": path.display().to_string(),
        "format": format.name(),
        "bytes": bytes,
        "allocated_bytes": taken,
    });
    let (name, bytes, taken) = (path.display(), size_text(bytes), size_text(taken));
    ui.result(value, &format!("{name}: {format}, {bytes}, takes {taken}"))
}

fn show(source: &DiskSource, ui: Ui) -> Result<(), Failure> {
    let top = DiskImage::open_top(source)?;
    let (path, info) = top.chain().images().next().expect("an image has one layer at least");
    // What is above an image that cannot be had is shown all the same.
    let whole = info.backing.as_ref().map(|_| DiskImage::open(source));
    let problem = whole.as_ref().and_then(|whole| whole.as_ref().err()).map(ToString::to_string);
    let chain = whole.as_ref().and_then(|whole| whole.as_ref().ok()).unwrap_or(&top).chain();
    if ui.json {
        return ui.object(describe(path, info, &top, chain, problem.as_deref()));
    }
    let mut rows: Vec<(&str, String)> = vec![
        ("file", path.display().to_string()),
        ("format", format!("{} ({})", info.format, info.subformat)),
        ("size", format!("{} ({} bytes)", size_text(info.bytes), info.bytes)),
        ("takes", size_text(top.allocated())),
    ];
    rows.extend(info.cluster_bytes.map(|bytes| ("clusters", size_text(bytes))));
    rows.extend(info.compression.map(|how| ("compression", how.to_string())));
    rows.extend(info.files.iter().map(|file| ("part", file.display().to_string())));
    if let Some(backing) = &info.backing {
        let name = backing.names.first().map_or("(no name)", |name| name);
        let format = backing.format.map_or(String::new(), |format| format!(" ({format})"));
        rows.push(("above", format!("{name}{format}")));
    }
    for (path, info) in chain.images().skip(1) {
        let (path, bytes) = (path.display(), size_text(info.bytes));
        rows.push(("below", format!("{path} ({}, {bytes})", info.format)));
    }
    rows.extend(info.notes.iter().map(|note| ("note", note.clone())));
    rows.extend(problem.map(|text| ("note", text)));
    for (key, value) in rows {
        ui.line(&format!("{key:12} {value}"))?;
    }
    if info.snapshots.is_empty() {
        return Ok(());
    }
    ui.line("")?;
    let row = |snapshot: &Snapshot| {
        let (state, disk) = (size_text(snapshot.state_bytes), size_text(snapshot.disk_bytes));
        vec![snapshot.id.clone(), snapshot.name.clone(), taken(snapshot), disk, state]
    };
    let rows: Vec<_> = info.snapshots.iter().map(row).collect();
    ui.table(&["SNAPSHOT", "NAME", "TAKEN", "DISK", "MEMORY"], &rows)
}

fn taken(snapshot: &Snapshot) -> String {
    let time = jiff::Timestamp::from_second(i64::from(snapshot.seconds));
    time.map_or(String::new(), |time| time.to_string())
}

fn describe(
    path: &Path,
    info: &Info,
    top: &DiskImage,
    chain: &Chain,
    problem: Option<&str>,
) -> Value {
    let snapshot = |snapshot: &Snapshot| {
        json!({
            "id": snapshot.id,
            "name": snapshot.name,
            "taken": taken(snapshot),
            "disk_bytes": snapshot.disk_bytes,
            "memory_bytes": snapshot.state_bytes,
        })
    };
    let below = |(path, info): (&Path, &Info)| {
        json!({
            "file": path.display().to_string(),
            "format": info.format.name(),
            "bytes": info.bytes,
        })
    };
    let backing = info.backing.as_ref().map(|backing| {
        json!({
            "name": backing.names.first(),
            "format": backing.format.map(Format::name),
        })
    });
    json!({
        "file": path.display().to_string(),
        "format": info.format.name(),
        "subformat": info.subformat,
        "bytes": info.bytes,
        "allocated_bytes": top.allocated(),
        "cluster_bytes": info.cluster_bytes,
        "compression": info.compression.map(|how| how.to_string()),
        "backing": backing,
        "below": chain.images().skip(1).map(below).collect::<Vec<_>>(),
        "parts": info.files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>(),
        "snapshots": info.snapshots.iter().map(snapshot).collect::<Vec<_>>(),
        "notes": info.notes,
        "problem": problem,
    })
}

fn resize(source: &DiskSource, text: &str, shrink: bool, ui: Ui) -> Result<(), Failure> {
    let path = &*source.path;
    let (format, old, below) = {
        let image = DiskImage::open(source)?;
        let mut images = image.chain().images();
        let (_, info) = images.next().expect("an image has one layer at least");
        let below = images.next().map_or(0, |(_, info)| info.bytes);
        (info.format, info.bytes, below)
    };
    let step = |digits: &str| size(digits).map_err(Failure::usage);
    let bytes = match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(more), _) => old.checked_add(step(more)?),
        (_, Some(less)) => old.checked_sub(step(less)?),
        _ => Some(step(text)?),
    };
    let bytes = bytes.filter(|&bytes| bytes > 0);
    let bytes = bytes.ok_or_else(|| Failure::usage(format!("no disk can have the size {text}")))?;
    if bytes < old && !shrink {
        let (new, old) = (size_text(bytes), size_text(old));
        let text =
            format!("the disk has {old}; to cut it to {new} and lose the rest, add --shrink");
        return Err(Failure::usage(text));
    }
    let mut file = ChangedImage::open(path).map_err(|error| {
        if error.kind() == io::ErrorKind::WouldBlock {
            let text = format!("{} is in use by another program", path.display());
            Failure::new(code::WRONG_STATE, text)
        } else {
            at(path)(error)
        }
    })?;
    match format {
        Format::Raw => file.set_bytes(bytes).and_then(|()| file.sync()).map_err(at(path))?,
        Format::Qcow2 => {
            resize_qcow2(&mut file, bytes, below, shrink).map_err(failed(path, format))?;
        }
        Format::Vmdk | Format::Vdi | Format::Vhd | Format::Vhdx => {
            let text = format!(
                "an image of {format} is not resized in place: convert it to qcow2 or raw first"
            );
            return Err(Failure::new(code::UNSUPPORTED, text));
        }
    }
    drop(file);
    done(path, format, ui)
}

fn copy(
    source: &DiskSource,
    to: &Path,
    sort: &SortArgs,
    compression: Option<Compression>,
    ui: Ui,
) -> Result<(), Failure> {
    let target = Target { compression, ..target(to, sort, None)? };
    let image = DiskImage::open(source)?;
    let chain = image.chain();
    let same = |name: &Path| to.canonicalize().is_ok_and(|to| to == name);
    if chain.file_names().any(same) {
        return Err(Failure::usage(format!("{} is read, and cannot be replaced", to.display())));
    }
    let begun = Instant::now();
    let mut file = NewImage::create(to).map_err(at(to))?;
    let mut steps = Steps::default();
    steps.begin(&format!("converting to {}", target.format), Some(chain.bytes()));
    let mut last = 0;
    let copied = convert(chain, &target, (to, &mut file), &Processors, &mut |now| {
        steps.advance(now - last);
        last = now;
    });
    steps.end();
    copied?;
    file.keep(sort.force).map_err(at(to))?;
    let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    if !ui.json {
        return done(to, target.format, ui);
    }
    let source = DiskSource { format: Some(target.format), ..DiskSource::new(to) };
    let made = DiskImage::open_top(&source)?;
    ui.object(json!({
        "file": to.display().to_string(),
        "format": target.format.name(),
        "bytes": chain.bytes(),
        "allocated_bytes": made.allocated(),
        "duration_ms": ms,
    }))
}

fn check(source: &DiskSource, ui: Ui) -> Result<u8, Failure> {
    let image = DiskImage::open_top(source)?;
    let Check { allocated, total, leaks, corruptions, findings } = image.chain().check()?;
    let (path, info) = image.chain().images().next().expect("an image has one layer at least");
    let format = info.format;
    let value = json!({
        "file": path.display().to_string(),
        "format": format.name(),
        "corruptions": corruptions,
        "leaks": leaks,
        "allocated_clusters": allocated,
        "total_clusters": total,
        "findings": findings,
    });
    let code = match (corruptions, leaks) {
        (0, 0) => 0,
        (0, _) => code::FAILURE,
        _ => code::DAMAGED,
    };
    if ui.json {
        ui.object(value)?;
        return Ok(code);
    }
    findings.iter().try_for_each(|finding| ui.line(finding))?;
    let name = path.display();
    let text = match (corruptions, leaks) {
        (0, 0) if total == 0 => format!("{name}: {format}, which has no tables to check"),
        (0, 0) => format!("{name}: sound; {allocated} of {total} clusters are stored"),
        (0, _) => format!("{name}: {leaks} clusters are lost space; all data is there"),
        _ => format!("{name}: damaged: {corruptions} wrong entries, {leaks} clusters lost"),
    };
    ui.line(&text)?;
    Ok(code)
}
