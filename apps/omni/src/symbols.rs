//! Names of functions by address, out of ELF files and lists as `System.map` and `kallsyms` are.

use crate::failure::Failure;
use object::LittleEndian;
use object::elf::{FileHeader64, SHT_SYMTAB, STT_FUNC, STT_NOTYPE};
use object::read::elf::{FileHeader, Sym};
use omni_host::read_bounded;
use std::path::PathBuf;

/// A file with symbols, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// How far behind its last symbol code may be and still have that name, in bytes.
const REACH_MAX: u64 = 1 << 20;

/// Names by address.
#[derive(Default)]
pub(crate) struct Symbols {
    /// In the order of their addresses, none twice; with the number of the file.
    all: Vec<(u64, String, usize)>,
    /// The names of the files.
    files: Vec<String>,
}

impl Symbols {
    /// Those of all these files. Damaged ones have none.
    pub(crate) fn read(paths: impl Iterator<Item = PathBuf>) -> Result<Self, Failure> {
        let mut symbols = Self::default();
        for path in paths.filter(|path| !path.as_os_str().is_empty()) {
            let bytes = read_bounded(&path, FILE_BYTES_MAX)
                .map_err(|error| Failure::io(&path.display().to_string(), &error))?;
            let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
            symbols.files.push(name.into_owned());
            symbols.add(&bytes);
        }
        symbols.all.sort();
        symbols.all.dedup_by_key(|(at, ..)| *at);
        Ok(symbols)
    }

    /// The name of the function at an address.
    pub(crate) fn find(&self, at: u64) -> Option<&str> {
        self.place(at).map(|(_, name)| name)
    }

    /// The name of the file that has the function at an address, and that of the function.
    pub(crate) fn place(&self, at: u64) -> Option<(&str, &str)> {
        let above = self.all.partition_point(|(start, ..)| *start <= at);
        let (start, name, file) = self.all.get(above.checked_sub(1)?)?;
        let file = self.files.get(*file).map_or("", String::as_str);
        (at - start <= REACH_MAX).then_some((file, name))
    }

    fn add(&mut self, bytes: &[u8]) {
        match FileHeader64::<LittleEndian>::parse(bytes) {
            Ok(elf) => self.add_elf(elf, bytes),
            Err(_) => self.add_list(bytes),
        }
    }

    fn add_elf(&mut self, elf: &FileHeader64<LittleEndian>, bytes: &[u8]) {
        let le = LittleEndian;
        let Ok(sections) = elf.sections(le, bytes) else { return };
        let Ok(table) = sections.symbols(le, bytes, SHT_SYMTAB) else { return };
        for symbol in table.iter() {
            let code = [STT_FUNC, STT_NOTYPE].contains(&symbol.st_type());
            if let Ok(name) = symbol.name(le, table.strings())
                && code
            {
                self.push(symbol.st_value(le), name);
            }
        }
    }

    /// Lines of an address in hexadecimal, a letter, and a name.
    fn add_list(&mut self, bytes: &[u8]) {
        for line in bytes.split(|byte| *byte == b'\n') {
            let mut words = line.split(|byte| *byte == b' ').map(<[u8]>::trim_ascii);
            let (Some(at), Some(b"t" | b"T" | b"w" | b"W"), Some(name)) =
                (words.next(), words.next(), words.next())
            else {
                continue;
            };
            let at = std::str::from_utf8(at).ok().and_then(|at| u64::from_str_radix(at, 16).ok());
            if let Some(at) = at {
                self.push(at, name);
            }
        }
    }

    /// Adds a name, if it is one and not a mark of the assembler's such as `.L1` or `$x`.
    fn push(&mut self, at: u64, name: &[u8]) {
        let plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b'@';
        if at != 0 && !name.is_empty() && !b".$".contains(&name[0]) && name.iter().all(plain) {
            let file = self.files.len().saturating_sub(1);
            self.all.push((at, String::from_utf8_lossy(name).into_owned(), file));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> Symbols {
        let mut symbols = Symbols::default();
        symbols.add(bytes);
        symbols.all.sort();
        symbols
    }

    #[test]
    fn an_address_has_the_name_of_the_function_before_it() {
        let list = b"ffffffff80000000 T _start\nffffffff80001000 t memcpy\n\
            ffffffff80002000 D data\nnonsense\n0 T zero\nffffffff80001800 t $x\n";
        let symbols = of(list);
        assert_eq!(symbols.find(0xffff_ffff_8000_0fff), Some("_start"));
        assert_eq!(symbols.find(0xffff_ffff_8000_2004), Some("memcpy"));
        assert_eq!(symbols.find(0xffff_ffff_8020_0000), None);
        assert_eq!(symbols.find(0x1000), None);
    }

    #[test]
    fn a_file_that_is_neither_has_no_names() {
        for bytes in [&b""[..], b"\x7fELF", &[0; 4096], b"ffff T", b" \n \n"] {
            assert_eq!(of(bytes).find(0x1000), None);
        }
    }
}
