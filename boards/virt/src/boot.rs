//! What is put into RAM before the first instruction: programs, kernels, firmware, device tree.

use crate::fdt::{self, Tree};
use crate::layout::{Item, KERNEL_OFFSET, RAM_BASE};
use object::LittleEndian;
use object::elf::{EM_RISCV, FileHeader64, PT_LOAD, SHT_SYMTAB};
use object::read::elf::{FileHeader, ProgramHeader, Sym};
use omni_base::Gpa;
use omni_machine::{Blob, CreateError, Spec};
use omni_memory::Space;
use std::io;
use std::ops::Range;

/// Bytes at the top of RAM for the device tree and what firmware is told.
const TREE_ROOM: u64 = 0x2_0000;
/// Where in that room firmware is told what comes after it.
const NEXT_STAGE: u64 = 0x1_f000;

/// Bytes that the headers of an ELF file take at most, with the padding behind them.
const HEADERS_MAX: u64 = 0x1_0000;

/// Who has machine mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Start {
    /// The board: its firmware answers a kernel that starts in supervisor mode.
    Supervisor,
    /// The guest's own firmware, which is told where the kernel is.
    Firmware,
    /// A bare program.
    Bare,
}

/// Addresses of the host-target interface of a bare program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Htif {
    pub(crate) tohost: Gpa,
    pub(crate) fromhost: Option<Gpa>,
}

/// A piece of a file and where in RAM it goes.
#[derive(Clone, Debug)]
struct Piece {
    offset: u64,
    role: String,
    blob: Blob,
    part: Range<u64>,
    /// Zeros that follow.
    zeros: u64,
}

/// How a machine starts.
#[derive(Clone, Debug)]
pub(crate) struct Boot {
    pub(crate) start: Start,
    /// The first instruction.
    pub(crate) entry: u64,
    /// The kernel, where firmware comes first.
    pub(crate) next: u64,
    pub(crate) htif: Option<Htif>,
    /// First and one past the last address of what a test signs.
    pub(crate) signature: Option<(u64, u64)>,
    initrd: Option<(u64, u64)>,
    pieces: Vec<Piece>,
    ram_bytes: u64,
}

fn bad(role: &str, why: impl Into<String>) -> CreateError {
    CreateError::File { role: role.into(), why: why.into() }
}

fn unreadable(role: &str) -> impl Fn(io::Error) -> CreateError {
    move |error| bad(role, format!("cannot be read: {error}"))
}

/// Bytes from the start of a file that tell what it is, and are all of an image's header.
pub(crate) const HEAD_BYTES: usize = 64;

/// Whether some bytes are a RISC-V kernel image (Documentation/arch/riscv/boot-image-header).
pub(crate) fn is_image(bytes: &[u8]) -> bool {
    bytes.get(0x38..0x3c) == Some(b"RSC\x05")
}

/// Whether some bytes are a 64-bit RISC-V ELF file.
pub(crate) fn is_elf(bytes: &[u8]) -> bool {
    let header = FileHeader64::<LittleEndian>::parse(bytes);
    header.is_ok_and(|h| h.e_machine(LittleEndian) == EM_RISCV && h.is_little_endian())
}

/// Reads the files of a spec and says where they go.
pub(crate) fn plan(spec: &Spec, ram_bytes: u64) -> Result<Boot, CreateError> {
    let (role, main) = match (spec.file("kernel"), spec.file("image")) {
        (Some(kernel), _) => ("kernel", kernel),
        (None, Some(image)) => ("image", image),
        (None, None) => {
            let why = "nothing to start: give a kernel, a bare program or a Debian release";
            return Err(bad("image", why));
        }
    };
    let mut boot = Boot {
        start: Start::Bare,
        entry: 0,
        next: 0,
        htif: None,
        signature: None,
        initrd: None,
        pieces: vec![],
        ram_bytes,
    };
    let end = boot.program(role, main)?;
    boot.next = boot.entry;
    if let Some(firmware) = spec.file("firmware") {
        boot.start = Start::Firmware;
        boot.firmware(firmware)?;
    }
    let top = ram_bytes.checked_sub(TREE_ROOM).filter(|top| *top >= end);
    let top = top.ok_or_else(|| bad(role, boot.too_large()))?;
    if let Some(initrd) = spec.file("initrd") {
        let bytes = initrd.len();
        let at = top.checked_sub(bytes).map(|at| at & !0xfff).filter(|at| *at >= end);
        let at = at.ok_or_else(|| bad("initrd", boot.too_large()))?;
        boot.initrd = Some((RAM_BASE.0 + at, RAM_BASE.0 + at + bytes));
        boot.put("initrd", at, initrd, 0..bytes, 0);
    }
    Ok(boot)
}

/// The bytes of a segment that are the file's own headers and lie below RAM: linkers put them
/// before the program, which does not need them.
fn headers_below_ram(at: u64, offset: u64) -> u64 {
    let below = RAM_BASE.0.saturating_sub(at);
    if offset == 0 && below <= HEADERS_MAX { below } else { 0 }
}

impl Boot {
    fn too_large(&self) -> String {
        format!("does not fit into {} MiB; give the machine more --memory", self.ram_bytes >> 20)
    }

    fn put(&mut self, role: &str, offset: u64, blob: &Blob, part: Range<u64>, zeros: u64) {
        let (role, blob) = (role.to_owned(), blob.clone());
        self.pieces.push(Piece { offset, role, blob, part, zeros });
    }

    /// Plans the program itself; gives the offset of its end in RAM.
    fn program(&mut self, role: &str, blob: &Blob) -> Result<u64, CreateError> {
        let head = blob.head(HEAD_BYTES).map_err(unreadable(role))?;
        if is_image(&head) {
            return self.image(role, blob, &head);
        }
        if is_elf(&head) {
            return self.elf(role, blob);
        }
        let why = "neither a 64-bit RISC-V ELF file nor a RISC-V kernel image";
        Err(bad(role, why))
    }

    fn image(&mut self, role: &str, blob: &Blob, head: &[u8]) -> Result<u64, CreateError> {
        let word = |at: usize| {
            let bytes = head.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
            bytes.map(u64::from_le_bytes).ok_or_else(|| bad(role, "the image header is cut off"))
        };
        let (text_offset, image_bytes) = (word(8)?, word(16)?);
        if text_offset > 1 << 30 {
            return Err(bad(role, "the image header has an impossible text offset"));
        }
        let offset = text_offset.max(KERNEL_OFFSET);
        let end = offset.checked_add(image_bytes.max(blob.len()));
        let end = end.filter(|end| *end <= self.ram_bytes);
        let end = end.ok_or_else(|| bad(role, self.too_large()))?;
        (self.start, self.entry) = (Start::Supervisor, RAM_BASE.0 + offset);
        self.put(role, offset, blob, 0..blob.len(), 0);
        Ok(end)
    }

    fn elf(&mut self, role: &str, blob: &Blob) -> Result<u64, CreateError> {
        let broken = |_| bad(role, "the ELF file is damaged or cut off");
        let data = &blob.bytes().map_err(unreadable(role))?[..];
        let le = LittleEndian;
        let elf = FileHeader64::<LittleEndian>::parse(data).map_err(broken)?;
        let (mut lowest, mut end) = (u64::MAX, 0);
        for segment in elf.program_headers(le, data).map_err(broken)? {
            if segment.p_type(le) != PT_LOAD || segment.p_memsz(le) == 0 {
                continue;
            }
            let skip = headers_below_ram(segment.p_paddr(le), segment.p_offset(le));
            let skip = skip.min(segment.p_filesz(le));
            let at = segment.p_paddr(le) + skip;
            let offset = at.checked_sub(RAM_BASE.0).ok_or_else(|| {
                bad(role, format!("is linked at {at:#x}; RAM begins at {:#x}", RAM_BASE.0))
            })?;
            let (bytes, size) = (segment.p_filesz(le), segment.p_memsz(le));
            let (bytes, size) = (bytes - skip, size.saturating_sub(skip));
            let last = offset.checked_add(size.max(bytes)).filter(|l| *l <= self.ram_bytes);
            let last = last.ok_or_else(|| bad(role, self.too_large()))?;
            let from = segment.p_offset(le).saturating_add(skip);
            let to = from.checked_add(bytes).filter(|to| *to <= data.len() as u64);
            let to = to.ok_or_else(|| bad(role, "the ELF file is damaged or cut off"))?;
            self.put(role, offset, blob, from..to, size.saturating_sub(bytes));
            (lowest, end) = (lowest.min(offset), end.max(last));
        }
        if lowest == u64::MAX {
            return Err(bad(role, "the ELF file has nothing to load"));
        }
        self.entry = elf.e_entry(le);
        self.symbols(elf, data);
        let kernel = role == "kernel" || (lowest >= KERNEL_OFFSET && self.htif.is_none());
        self.start = if kernel { Start::Supervisor } else { Start::Bare };
        if kernel {
            // A kernel's entry may be a virtual address: it starts where it is loaded.
            self.entry = RAM_BASE.0 + lowest;
        }
        Ok(end)
    }

    /// Finds the symbols that mean something to us. Damaged tables mean none.
    fn symbols(&mut self, elf: &FileHeader64<LittleEndian>, data: &[u8]) {
        let le = LittleEndian;
        let Ok(sections) = elf.sections(le, data) else { return };
        let Ok(symbols) = sections.symbols(le, data, SHT_SYMTAB) else { return };
        let strings = symbols.strings();
        let find = |wanted: &[u8]| {
            let mut all = symbols.iter();
            let found = all.find(|symbol| symbol.name(le, strings).is_ok_and(|n| n == wanted));
            found.map(|symbol| symbol.st_value(le))
        };
        let in_ram = |at: &u64| {
            let offset = at.checked_sub(RAM_BASE.0);
            offset.is_some_and(|offset| offset < self.ram_bytes - 8)
        };
        let aligned = |at: &u64| at.is_multiple_of(8);
        if let Some(tohost) = find(b"tohost").filter(in_ram).filter(aligned) {
            let fromhost = find(b"fromhost").filter(in_ram).filter(aligned).map(Gpa);
            self.htif = Some(Htif { tohost: Gpa(tohost), fromhost });
        }
        let ends = (find(b"begin_signature"), find(b"end_signature"));
        if let (Some(begin), Some(end)) = ends
            && begin <= end
            && in_ram(&begin)
            && end - RAM_BASE.0 <= self.ram_bytes
        {
            self.signature = Some((begin, end));
        }
    }

    fn firmware(&mut self, blob: &Blob) -> Result<(), CreateError> {
        if is_elf(&blob.head(HEAD_BYTES).map_err(unreadable("firmware"))?) {
            let (htif, signature) = (self.htif, self.signature);
            let end = self.elf("firmware", blob)?;
            (self.htif, self.signature, self.start) = (htif, signature, Start::Firmware);
            if end > KERNEL_OFFSET {
                return Err(bad("firmware", "overlaps the kernel, which is at RAM + 2 MiB"));
            }
            return Ok(());
        }
        if blob.len() > KERNEL_OFFSET {
            return Err(bad("firmware", "is larger than the 2 MiB below the kernel"));
        }
        self.put("firmware", 0, blob, 0..blob.len(), 0);
        self.entry = RAM_BASE.0;
        Ok(())
    }

    /// The address of the device tree.
    pub(crate) fn tree_at(&self) -> u64 {
        RAM_BASE.0 + self.ram_bytes - TREE_ROOM
    }

    /// The address of what firmware is told of its next stage.
    pub(crate) fn next_stage_at(&self) -> u64 {
        self.tree_at() + NEXT_STAGE
    }

    /// Puts everything into RAM. `fresh` RAM is known to be zero.
    pub(crate) fn load(
        &self,
        ram: &mut Space,
        tree: &[u8],
        fresh: bool,
    ) -> Result<(), CreateError> {
        let lost = |_| CreateError::Shape("RAM is smaller than its plan");
        for piece in &self.pieces {
            let bytes = piece.blob.bytes().map_err(unreadable(&piece.role))?;
            let in_file = |value: u64| usize::try_from(value).expect("within the file");
            let part = in_file(piece.part.start)..in_file(piece.part.end);
            ram.store(Gpa(piece.offset), &bytes[part.clone()]).map_err(lost)?;
            if !fresh {
                let after = Gpa(piece.offset + part.len() as u64);
                ram.fill(after, piece.zeros, 0).map_err(lost)?;
            }
        }
        ram.store(Gpa(self.tree_at() - RAM_BASE.0), tree).map_err(lost)?;
        // What OpenSBI's fw_dynamic reads: magic, version, next address, next mode, options.
        let mut next = Vec::new();
        for word in [0x4942_534f, 2, self.next, 1, 0, 0_u64] {
            next.extend_from_slice(&word.to_le_bytes());
        }
        ram.store(Gpa(self.next_stage_at() - RAM_BASE.0), &next).map_err(lost)
    }

    /// The device tree as bytes.
    pub(crate) fn tree(&self, spec: &Spec, board: &BoardTree<'_>) -> Result<Vec<u8>, CreateError> {
        let mut rng_seed = [0; 32];
        rng_seed[..8].copy_from_slice(&spec.seed.to_le_bytes());
        let rng_seed = omni_base::Digest::of_parts([&b"device tree"[..], &rng_seed]).0;
        let tree = Tree {
            harts: board.harts,
            ram_bytes: self.ram_bytes,
            items: board.items,
            command_line: spec.option("append").unwrap_or_default(),
            initrd: self.initrd,
            rng_seed,
            mmu: board.mmu,
            isa: board.isa,
            machine_mode: self.start != Start::Supervisor,
        };
        let blob = fdt::write(&tree).map_err(|error| CreateError::Option {
            name: "append".into(),
            why: format!("cannot be put into a device tree: {error}"),
        })?;
        if blob.len() as u64 > NEXT_STAGE {
            let why = "is too long for the device tree".into();
            return Err(CreateError::Option { name: "append".into(), why });
        }
        Ok(blob)
    }
}

/// What the device tree says of this board.
pub(crate) struct BoardTree<'a> {
    pub(crate) harts: u32,
    pub(crate) items: &'a [Item],
    pub(crate) mmu: &'static str,
    pub(crate) isa: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(text_offset: u64, image_bytes: u64) -> Blob {
        let mut bytes = vec![0; 4096];
        bytes[8..16].copy_from_slice(&text_offset.to_le_bytes());
        bytes[16..24].copy_from_slice(&image_bytes.to_le_bytes());
        bytes[0x38..0x3c].copy_from_slice(b"RSC\x05");
        bytes.into()
    }

    fn spec(role: &str, blob: Blob) -> Spec {
        let mut spec = Spec::new("riscv-virt");
        spec.files.insert(role.into(), blob);
        spec
    }

    #[test]
    fn an_image_starts_in_supervisor_mode_where_its_header_says() {
        let boot = plan(&spec("image", image(0x20_0000, 0x10_0000)), 64 << 20).expect("sound");
        assert_eq!((boot.start, boot.entry), (Start::Supervisor, 0x8020_0000));
    }

    #[test]
    fn files_that_do_not_fit_or_make_no_sense_are_refused_in_words() {
        for (role, blob) in [
            ("image", image(0x20_0000, 1 << 40)),
            ("image", image(u64::MAX, 1)),
            ("image", vec![0x7f, b'E', b'L', b'F'].into()),
            ("image", vec![].into()),
            ("kernel", vec![0; 100].into()),
        ] {
            let error = plan(&spec(role, blob), 64 << 20).expect_err("refused");
            assert!(error.to_string().starts_with(role), "{error}");
        }
        let mut spec = spec("kernel", image(0x20_0000, 0x1000));
        spec.files.insert("initrd".into(), vec![0; 64 << 20].into());
        let error = plan(&spec, 64 << 20).expect_err("refused");
        assert!(error.to_string().contains("--memory"), "{error}");
        assert!(plan(&Spec::new("riscv-virt"), 64 << 20).is_err());
    }
}
