//! From the command line to the file of a machine, and from that file to its spec.

use crate::adopt::Adoption;
use crate::args::{Accel, MachineArgs};
use crate::disks;
use crate::failure::{Failure, code};
use crate::images;
use crate::program;
use crate::saved;
use crate::sniff;
use crate::switches;
use crate::translate;
use crate::ui::{Ui, size_text};
use omni_base::Digest;
use omni_control::{API, Dirs, DiskFile, Entry, MachineFile, now_text};
use omni_disk::Format;
use omni_engine::Tiers;
use omni_host::{
    Disk, DiskImage, DiskSource, RawFile, blob_of, is_terminal, read_bounded, terminal_size,
};
use omni_kinds::{KINDS, kind_of, probe_all};
use omni_machine::{DiskSpec, Group, MachineKind, OptionType, Spec};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// A file of a machine that is read whole: a kernel, a story. Disks are not among them.
const FILE_BYTES_MAX: u64 = 2 << 30;

/// The architecture where nothing says another.
const ARCH_DEFAULT: &str = "riscv64";

/// What the kernel of an image of ours is told to leave out, so that a guest that has nothing to do
/// sleeps for seconds and not for parts of one: a watchdog over its CPUs, which would bark at
/// pauses that it cannot know of; averages of how long tasks waited; memory put together ahead of
/// need; statistics of memory each second; a look every five seconds for neighbours that are to be
/// known always, of which there are none; more calls for an IPv6 router than the three of RFC 4861.
/// What the user adds comes later, and counts.
const QUIET: &str = "nowatchdog psi=0 sysctl.vm.compaction_proactiveness=0 \
    sysctl.vm.stat_interval=10 \
    sysctl.net.ipv4.neigh.default.interval_probe_time_ms=60000 \
    sysctl.net.ipv6.neigh.default.interval_probe_time_ms=60000 \
    sysctl.net.ipv6.conf.default.router_solicitations=3";

/// What a machine is to be made from.
pub(crate) struct Plan {
    /// The file of the machine, without id.
    pub(crate) machine: MachineFile,
    /// What its name begins with where none is given.
    pub(crate) stem: String,
    /// How it takes over the files of its image, where it is made from one.
    pub(crate) adoption: Option<Adoption>,
}

/// What an image turned out to be.
struct Source {
    kind: &'static dyn MachineKind,
    files: BTreeMap<String, PathBuf>,
    disk: Option<PathBuf>,
    append: Option<String>,
    ready: Option<String>,
    adoption: Option<Adoption>,
    stem: String,
}

/// Makes a plan. Builds the image where it is missing.
pub(crate) fn plan(
    args: &MachineArgs,
    interactive: bool,
    dirs: &Dirs,
    ui: Ui,
) -> Result<Plan, Failure> {
    let accel = accel_word(args.accel)?;
    let mut source = find_source(args, interactive, dirs, ui)?;
    if args.parallel {
        can_be_parallel(source.kind)?;
        can_be_recorded(args.record)?;
    }
    let files = files(args, source.kind, std::mem::take(&mut source.files))?;
    if source.adoption.is_none() {
        let choices = &args.choices;
        if choices.size.is_some() || !choices.packages.is_empty() || choices.user.is_some() {
            return Err(Failure::usage("--size, --package and --user are for the image debian"));
        }
    }
    let program = program::of(args, source.kind, files.get("image"))?;
    let mut options = options(args, source.kind, source.append, interactive)?;
    options.extend(program.options);
    let mut disks = Vec::new();
    if let Some(path) = &source.disk {
        // Known to be raw, whatever its guests have written into it.
        let format = Some(Format::Raw.name().into());
        let file = DiskFile { path: path.clone(), format, ..DiskFile::default() };
        disks.push(disk_file(file, ui)?);
    }
    for text in &args.disks {
        disks.push(disk(text, ui)?);
    }
    let machine = MachineFile {
        api: API.into(),
        name: args.name.clone().unwrap_or_default(),
        kind: source.kind.info().name.into(),
        arch: source.kind.info().arch.map(str::to_owned),
        image: args.image.clone().unwrap_or_default(),
        files_dir: files_dir(dirs, &source.stem, files.get("image"))?,
        files,
        disks,
        folders: program.folders,
        options,
        accel,
        parallel: args.parallel,
        share: args.share,
        seed: args.seed.unwrap_or_else(random_seed),
        epoch_s: args.seed.map(|_| Spec::new("").epoch_s),
        net: switches::nets(&args.nets)?,
        publish: published(&args.publish)?,
        labels: args.labels.iter().cloned().collect(),
        remove: args.rm,
        timeout_ms: args.timeout.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        signature: args.signature.as_deref().map(absolute).transpose()?,
        ready: source.ready,
        snapshot_on_exit: args.snapshot_on_exit,
        record: args.record,
        created: now_text(),
        ..MachineFile::default()
    };
    Ok(Plan { machine, stem: source.stem, adoption: source.adoption })
}

/// The files of a machine by role: those of its source, and those that are given besides.
fn files(
    args: &MachineArgs,
    kind: &dyn MachineKind,
    mut found: BTreeMap<String, PathBuf>,
) -> Result<BTreeMap<String, PathBuf>, Failure> {
    let given = [
        ("kernel", &args.kernel),
        ("initrd", &args.initrd),
        ("firmware", &args.firmware),
        ("library", &args.library),
    ];
    for (role, path) in given {
        found.extend(path.iter().map(|path| (role.to_owned(), path.clone())));
    }
    let mut files = BTreeMap::new();
    for (role, path) in found {
        if !kind.info().files.contains(&&role[..]) {
            let name = kind.info().name;
            return Err(Failure::usage(format!("machines of kind {name} take no --{role}")));
        }
        files.insert(role, absolute(&path)?);
    }
    Ok(files)
}

/// How code is to be run, as the file of the machine says it.
fn accel_word(accel: Accel) -> Result<Option<String>, Failure> {
    match accel {
        Accel::Auto => Ok(None),
        Accel::Interp => Ok(Some(translate::INTERP.into())),
        Accel::Jit if Tiers::can_compile() => Ok(Some(translate::JIT.into())),
        Accel::Jit => {
            let text = "this host runs code by interpretation only: use --accel auto or interp";
            Err(Failure::new(code::UNSUPPORTED, text))
        }
        Accel::Kvm => {
            let text = "this build does not use the host's virtualisation: use --accel auto";
            Err(Failure::new(code::UNSUPPORTED, text))
        }
    }
}

/// Whether machines of a kind can use several CPUs of the host at a time.
pub(crate) fn can_be_parallel(kind: &dyn MachineKind) -> Result<(), Failure> {
    if kind.info().caps.parallel {
        return Ok(());
    }
    let text =
        format!("machines of kind {} take turns only: leave --parallel out", kind.info().name);
    Err(Failure::new(code::UNSUPPORTED, text))
}

/// Whether a machine whose virtual CPUs run side by side is not to be recorded.
pub(crate) fn can_be_recorded(record: bool) -> Result<(), Failure> {
    if !record {
        return Ok(());
    }
    let text = "virtual CPUs that run side by side never do the same twice, so they cannot be \
                recorded: use --turns instead of --parallel";
    Err(Failure::new(code::UNSUPPORTED, text))
}

/// Where the guest's own files are: apart for each program, told by name and content.
fn files_dir(dirs: &Dirs, stem: &str, image: Option<&PathBuf>) -> Result<PathBuf, Failure> {
    let digest = match image {
        Some(path) => Digest::of(&read_file(path)?),
        None => Digest::default(),
    };
    Ok(dirs.files(&format!("{stem}-{}", digest.short())))
}

/// The spec of a machine and its disks, opened.
pub(crate) fn spec_of(entry: &Entry) -> Result<(Spec, Vec<Disk>), Failure> {
    let machine = &entry.machine;
    let mut spec = Spec::new(&machine.kind);
    spec.seed = machine.seed;
    spec.epoch_s = machine.epoch_s.unwrap_or_else(now_s);
    spec.options.clone_from(&machine.options);
    for (role, path) in &machine.files {
        let blob = blob_of(path, FILE_BYTES_MAX, &entry.dir);
        spec.files.insert(role.clone(), blob.map_err(|error| no_file(path, &error))?);
    }
    let below = saved::below_disks(entry)?;
    let mut disks = Vec::new();
    for (at, file) in machine.disks.iter().enumerate() {
        let overlay = entry.overlay(at);
        let overlay = (!file.read_only).then_some(&*overlay);
        let disk = match below.as_ref().and_then(|images| images.get(at)) {
            Some(image) => Disk::above(image.clone(), file.bytes, overlay)?,
            None => Disk::open(&source_of(file), overlay)?,
        };
        let (bytes, image) = (disk.bytes(), disk.image().clone());
        spec.disks.push(DiskSpec { bytes, read_only: file.read_only, image });
        disks.push(disk);
    }
    Ok((spec, disks))
}

fn find_source(
    args: &MachineArgs,
    interactive: bool,
    dirs: &Dirs,
    ui: Ui,
) -> Result<Source, Failure> {
    let forced = match &args.kind {
        Some(name) => Some(kind_of(name)?),
        None => None,
    };
    if let Some(reference) = args.image.as_deref().filter(|text| images::is_reference(text)) {
        let arch = args.arch.as_deref().unwrap_or(ARCH_DEFAULT);
        let kind = forced.map_or_else(|| system_kind(arch), Ok)?;
        let asked = (&args.source, &args.choices);
        let image = images::open_or_build(reference, arch, asked, dirs, ui)?;
        let files = [("kernel", image.kernel()), ("initrd", image.initrd())];
        let files = files.map(|(role, path)| (role.to_owned(), path)).into();
        let stem = image.info.distribution.clone();
        let terminal = image.info.cmdline_terminal.clone().filter(|_| interactive);
        let console = terminal.unwrap_or_else(|| image.info.cmdline.clone());
        let append = Some(format!("{console} {QUIET}"));
        // At a terminal nobody is logged in unasked, and a person sees when to type.
        let ready = image.info.ready.clone().filter(|_| !interactive);
        let disk_bytes = args.choices.size;
        let smaller = disk_bytes.zip(image.info.disk.as_ref());
        if let Some((wanted, disk)) = smaller.filter(|(wanted, disk)| *wanted < disk.size) {
            let (wanted, bytes) = (size_text(wanted), size_text(disk.size));
            let text = format!("--size {wanted} is less than the image's disk has ({bytes})");
            return Err(Failure::usage(text));
        }
        let adoption = Some(Adoption { disk_bytes });
        return Ok(Source { kind, files, disk: image.disk(), append, ready, adoption, stem });
    }
    let (role, path) = match (&args.image, &args.kernel) {
        (Some(image), _) => ("image", PathBuf::from(image)),
        (None, Some(kernel)) => ("kernel", kernel.clone()),
        (None, None) => return Err(Failure::usage("give an IMAGE or a --kernel")),
    };
    let kind = match forced {
        Some(kind) => kind,
        None => probe(&path, args.arch.as_deref())?,
    };
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
    let files = [(role.to_owned(), path)].into();
    Ok(Source { kind, files, disk: None, append: None, ready: None, adoption: None, stem })
}

/// The kind that says most surely that it can run a file.
fn probe(path: &Path, arch: Option<&str>) -> Result<&'static dyn MachineKind, Failure> {
    let bytes = read_file(path)?;
    let of_arch = |kind: &dyn MachineKind| arch.is_none_or(|arch| kind.info().arch == Some(arch));
    let mut found = probe_all(&bytes).into_iter().filter(|(_, kind)| of_arch(*kind));
    if let Some((_, kind)) = found.next() {
        return Ok(kind);
    }
    let names: Vec<_> = KINDS.iter().map(|kind| kind.info().name).collect();
    let what = sniff::describe(&bytes);
    let path = path.display();
    let names = names.join(", ");
    Err(Failure::usage(format!("{path} is {what}, which no kind of machine here runs ({names})")))
}

/// The kind of machine that runs systems of an architecture.
pub(crate) fn system_kind(arch: &str) -> Result<&'static dyn MachineKind, Failure> {
    let fits = |kind: &&&'static dyn MachineKind| {
        kind.info().group == Group::System && kind.info().arch == Some(arch)
    };
    let found = KINDS.iter().find(fits).copied();
    found.ok_or_else(|| {
        let all = KINDS.iter().filter(|kind| kind.info().group == Group::System);
        let all: Vec<_> = all.filter_map(|kind| kind.info().arch).collect();
        let text = format!("no kind here runs systems of architecture {arch} ({})", all.join(", "));
        Failure::new(code::UNSUPPORTED, text)
    })
}

fn options(
    args: &MachineArgs,
    kind: &dyn MachineKind,
    own_append: Option<String>,
    interactive: bool,
) -> Result<BTreeMap<String, String>, Failure> {
    let info = kind.info();
    let find = |name: &str| info.options.iter().find(|option| option.name == name);
    let mut options: BTreeMap<String, String> = BTreeMap::new();
    if interactive && find("echo").is_some() {
        options.insert("echo".into(), "true".into());
        let size = terminal_size(io::stdout()).filter(|_| is_terminal(io::stdout()));
        for (name, value) in size.map_or(vec![], |(x, y)| vec![("width", x), ("height", y)]) {
            if find(name).is_some() {
                options.insert(name.into(), value.clamp(20, 255).to_string());
            }
        }
    }
    if own_append.is_some() && find("balloon").is_some() {
        // A system that is known has a driver for it.
        options.insert("balloon".into(), "true".into());
    }
    let append = match (own_append, &args.append) {
        (Some(own), Some(more)) => Some(format!("{own} {more}")),
        (own, more) => own.or_else(|| more.clone()),
    };
    // Kinds that take arguments one by one have them from elsewhere.
    let joined = !args.args.is_empty() && find("argv").is_none();
    let program = joined.then(|| args.args.join(" "));
    let wanted = switches::nets(&args.nets)?;
    // A kind without a network is asked for one only by whoever names it.
    let net = (!args.nets.is_empty() || find("net").is_some()).then_some(wanted);
    let named = [
        ("memory", args.memory.clone()),
        ("cpus", args.cpus.map(|count| count.to_string())),
        ("append", append),
        ("args", program),
        ("net", net),
        ("button", find("button").map(|_| "true".to_owned())),
    ];
    let named = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    for (name, value) in named.chain(args.options.iter().cloned()) {
        let Some(option) = find(&name) else {
            if name == "args" {
                let kind = info.name;
                let text = format!(
                    "'{value}' is no option, and machines of kind {kind} take no arguments"
                );
                return Err(Failure::usage(text));
            }
            let known: Vec<_> = info.options.iter().map(|option| option.name).collect();
            let (kind, known) = (info.name, known.join(", "));
            let text = format!("machines of kind {kind} have no option '{name}' (only {known})");
            return Err(Failure::usage(text));
        };
        let flag = option.ty == OptionType::Flag;
        if flag && value != "true" && value != "false" {
            return Err(Failure::usage(format!("option '{name}' is true or false, not '{value}'")));
        }
        options.insert(name, value);
    }
    Ok(options)
}

/// A disk as it is given: `FILE`, then `,ro`, `,follow` and `,format=F` in any order.
fn disk(text: &str, ui: Ui) -> Result<DiskFile, Failure> {
    let mut file = DiskFile::default();
    let mut path = text;
    while let Some((rest, word)) = path.rsplit_once(',') {
        match word.strip_prefix("format=") {
            Some(name) => {
                let format = Format::of_name(name).ok_or_else(|| disks::no_format(name))?;
                file.format = Some(format.name().into());
            }
            None if word == "ro" => file.read_only = true,
            None if word == "rw" => file.read_only = false,
            None if word == "follow" => file.follow = true,
            // A comma in the name.
            None => break,
        }
        path = rest;
    }
    file.path = path.into();
    disk_file(file, ui)
}

fn disk_file(mut file: DiskFile, ui: Ui) -> Result<DiskFile, Failure> {
    file.path = absolute(&file.path)?;
    // Opened here already, so that a mistake is told before anything is made.
    RawFile::open(&file.path).map_err(|error| no_file(&file.path, &error))?;
    let image = DiskImage::open(&source_of(&file))?;
    for other in image.chain().file_names().skip(1) {
        // What an image has read for it is not hidden.
        let (name, other) = (file.path.display(), other.display());
        ui.say(&format!("omni: the disk {name} is read from {other} too"));
    }
    file.bytes = image.chain().bytes().next_multiple_of(512);
    Ok(file)
}

/// Where the image of a disk is, and how far it is trusted.
pub(crate) fn source_of(file: &DiskFile) -> DiskSource {
    let format = file.format.as_deref().and_then(Format::of_name);
    DiskSource { path: file.path.clone(), format, follow: file.follow }
}

/// Ports to publish, once they are known to be sound.
pub(crate) fn published(texts: &[String]) -> Result<Vec<String>, Failure> {
    for text in texts {
        let parsed = text.parse::<omni_net::Publish>();
        parsed.map_err(|error| Failure::usage(format!("--publish: {error}")))?;
    }
    Ok(texts.to_vec())
}

fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    read_bounded(path, FILE_BYTES_MAX).map_err(|error| no_file(path, &error))
}

pub(crate) fn no_file(path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::io(&path.display().to_string(), error);
    let given = error.kind() == io::ErrorKind::NotFound || failure.code == code::FAILURE;
    Failure { code: if given { code::USAGE } else { failure.code }, ..failure }
}

pub(crate) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    // Not through links: what a link leads to later is what is meant.
    std::path::absolute(path).map_err(|error| Failure::io(&path.display().to_string(), &error))
}

/// The present time, in seconds since 1970.
pub(crate) fn now_s() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0)
}

fn random_seed() -> u64 {
    omni_host::random_u64()
}
