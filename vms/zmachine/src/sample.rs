//! A small story of our own, of version 5, assembled here: for tests that need any program.

use crate::text::ALPHABETS;

const ABBREVIATIONS: usize = 0x40;
const GLOBALS: usize = 0x100;
const OBJECTS: usize = 0x300;
const TABLE: u16 = 0x800;
const TEXT: u16 = 0x900;
const PARSE: u16 = 0x980;
const DYNAMIC_END: usize = 0xa00;

/// Global variables, by their numbers as operands.
const COUNT: u8 = 16;
const SUM: u8 = 17;
const INDEX: u8 = 18;
const LETTER: u8 = 19;
const RESULT: u8 = 20;

const OBJECT_NAMES: [&str; 4] = ["box", "coin", "lamp", "rope"];

/// An operand.
#[derive(Clone, Copy)]
enum Arg {
    /// A byte.
    Small(u8),
    /// A word.
    Large(u16),
    /// A variable.
    Var(u8),
}

/// A small story that loops over lines of input: it counts and sums, draws random numbers,
/// recurses, moves objects, writes memory, and keeps and takes back its state.
///
/// A line that starts with `u` takes back the line before, `k` reads a key, `q` ends.
#[must_use]
pub fn sample_story() -> Vec<u8> {
    let mut story = Assembler { bytes: vec![0; DYNAMIC_END] };
    story.objects();
    let dictionary = story.dictionary();
    let fibonacci = story.fibonacci();
    let busy = story.busy();
    let start = story.bytes.len();
    story.main(fibonacci, busy);
    story.header(dictionary, start);
    story.bytes
}

struct Assembler {
    bytes: Vec<u8>,
}

impl Assembler {
    fn set(&mut self, at: usize, word: usize) {
        let word = u16::try_from(word).expect("the story is below 64 KiB");
        self.bytes[at..at + 2].copy_from_slice(&word.to_be_bytes());
    }

    fn header(&mut self, dictionary: usize, start: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.bytes[0] = 5;
        self.bytes[0x12..0x18].copy_from_slice(b"260101");
        let end = self.bytes.len();
        let words = [
            (0x02, 1),
            (0x04, DYNAMIC_END),
            (0x06, start),
            (0x08, dictionary),
            (0x0a, OBJECTS),
            (0x0c, GLOBALS),
            (0x0e, DYNAMIC_END),
            (0x18, ABBREVIATIONS),
            (0x1a, end / 4),
        ];
        words.into_iter().for_each(|(at, word)| self.set(at, word));
        let sum: usize = self.bytes[0x40..].iter().map(|byte| usize::from(*byte)).sum();
        self.set(0x1c, sum & 0xffff);
    }

    fn objects(&mut self) {
        let first = OBJECTS + 126;
        let mut table = first + 14 * OBJECT_NAMES.len();
        for (index, name) in OBJECT_NAMES.iter().enumerate() {
            self.set(first + 14 * index + 12, table);
            let text = pack(name);
            self.bytes[table] = u8::try_from(text.len() / 2).expect("a short name");
            self.bytes[table + 1..][..text.len()].copy_from_slice(&text);
            table += 1 + text.len();
            // Property 5, of one word; then the end of the list.
            self.bytes[table..][..4].copy_from_slice(&[0x45, 0, 7, 0]);
            table += 4;
        }
    }

    fn dictionary(&mut self) -> usize {
        let at = self.bytes.len();
        // One separator; entries of six bytes; none of them.
        self.bytes.extend([1, b',', 6, 0, 0]);
        at
    }

    /// Starts a routine and gives its packed address.
    fn routine(&mut self, locals: u8) -> Arg {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        let packed = u16::try_from(self.bytes.len() / 4).expect("the story is below 64 KiB");
        self.bytes.push(locals);
        Arg::Large(packed)
    }

    fn fibonacci(&mut self) -> Arg {
        use Arg::{Small, Var};
        let own = self.routine(2);
        let big = self.branch(0xc2, &[Var(1), Small(2)], false);
        self.op(0xab, &[Var(1)], None);
        self.land(big);
        self.op(0xd5, &[Var(1), Small(1)], Some(2));
        self.op(0xd9, &[own, Var(2)], Some(0));
        self.op(0xd5, &[Var(1), Small(2)], Some(2));
        self.op(0xd9, &[own, Var(2)], Some(2));
        self.op(0xd4, &[Var(2), Var(0)], Some(2));
        self.op(0xab, &[Var(2)], None);
        own
    }

    /// Counts its argument down.
    fn busy(&mut self) -> Arg {
        use Arg::{Small, Var};
        let own = self.routine(1);
        let top = self.bytes.len();
        self.op(0xe8, &[Var(1)], None);
        self.op(0xe9, &[Small(1)], None);
        let done = self.branch(0xc4, &[Small(1), Small(1)], true);
        self.jump(top);
        self.land(done);
        self.bytes.push(0xb0);
        own
    }

    fn main(&mut self, fibonacci: Arg, busy: Arg) {
        use Arg::{Large, Small, Var};
        self.print("A sample. Lines are counted; u undoes, k reads a key, q quits.\n");
        let top = self.bytes.len();
        // The buffer has room for 80 characters, and none are in it.
        self.op(0xe1, &[Large(TEXT), Small(0), Large(0x5000)], None);
        self.print("\n>");
        self.op(0xe4, &[Large(TEXT), Large(PARSE)], Some(RESULT));
        self.op(0xd0, &[Large(TEXT), Small(1)], Some(INDEX));
        self.op(0xd0, &[Large(TEXT), Small(2)], Some(LETTER));
        self.op(0xcd, &[Small(SUM), Small(0)], None);
        let quit = self.branch(0xc1, &[Var(LETTER), Small(b'q')], true);
        let undo = self.branch(0xc1, &[Var(LETTER), Small(b'u')], true);
        self.save_undo();
        let again = self.branch(0xc1, &[Var(RESULT), Small(2)], true);
        self.op(0x95, &[Small(COUNT)], None);
        let sum = self.bytes.len();
        let summed = self.branch(0x90, &[Var(INDEX)], true);
        self.op(0xd4, &[Var(INDEX), Small(1)], Some(0));
        self.op(0xd0, &[Large(TEXT), Var(0)], Some(0));
        self.op(0xd4, &[Var(SUM), Var(0)], Some(SUM));
        self.op(0x96, &[Small(INDEX)], None);
        self.jump(sum);
        self.land(summed);
        self.report(fibonacci, busy);
        let key = self.branch(0xc1, &[Var(LETTER), Small(b'k')], false);
        self.print(" key ");
        self.op(0xf6, &[Small(1)], Some(RESULT));
        self.op(0xe6, &[Var(RESULT)], None);
        self.land(key);
        self.jump(top);
        self.land(undo);
        self.bytes.extend([0xbe, 0x0a, 0xff, RESULT]);
        self.print("Nothing to undo.");
        self.jump(top);
        self.land(again);
        self.print("Undone.");
        self.jump(top);
        self.land(quit);
        self.print("Bye.\n");
        self.bytes.push(0xba);
    }

    /// Says what became of a line, and moves things.
    fn report(&mut self, fibonacci: Arg, busy: Arg) {
        use Arg::{Large, Small, Var};
        self.print("Line ");
        self.op(0xe6, &[Var(COUNT)], None);
        self.print(", sum ");
        self.op(0xe6, &[Var(SUM)], None);
        self.print(", random ");
        self.op(0xe7, &[Small(100)], Some(0));
        self.op(0xe6, &[Var(0)], None);
        self.op(0xc9, &[Var(SUM), Small(7)], Some(0));
        self.op(0xd9, &[fibonacci, Var(0)], Some(RESULT));
        self.print(", fibonacci ");
        self.op(0xe6, &[Var(RESULT)], None);
        self.op(0xda, &[busy, Large(300)], None);
        self.op(0xd8, &[Var(SUM), Small(3)], Some(RESULT));
        self.op(0xd4, &[Var(RESULT), Small(2)], Some(RESULT));
        self.op(0xce, &[Var(RESULT), Small(1)], None);
        self.op(0xcb, &[Var(RESULT), Small(9)], None);
        self.op(0xe3, &[Var(RESULT), Small(5), Var(SUM)], None);
        self.print(", the ");
        self.op(0x9a, &[Var(RESULT)], None);
        self.print(" is in the box.");
        self.op(0xc9, &[Var(COUNT), Small(63)], Some(0));
        self.op(0xe1, &[Large(TABLE), Var(0), Var(SUM)], None);
    }

    fn save_undo(&mut self) {
        self.bytes.extend([0xbe, 0x09, 0xff, RESULT]);
    }

    /// An instruction: operands, then the variable for its value.
    fn op(&mut self, opcode: u8, args: &[Arg], store: Option<u8>) {
        let kind = |arg: &Arg| match arg {
            Arg::Large(_) => 0,
            Arg::Small(_) => 1,
            Arg::Var(_) => 2,
        };
        if opcode >= 0xc0 {
            self.bytes.push(opcode);
            let types = args.iter().fold(0, |types, arg| types << 2 | kind(arg));
            let free = 4 - args.len();
            self.bytes.push((0..free).fold(types, |types, _| types << 2 | 3));
        } else {
            self.bytes.push(opcode & 0xcf | kind(&args[0]) << 4);
        }
        for arg in args {
            match arg {
                Arg::Small(byte) | Arg::Var(byte) => self.bytes.push(*byte),
                Arg::Large(word) => self.bytes.extend(word.to_be_bytes()),
            }
        }
        self.bytes.extend(store);
    }

    /// An instruction that branches forward; gives the place for `land`.
    fn branch(&mut self, opcode: u8, args: &[Arg], when: bool) -> usize {
        self.op(opcode, args, None);
        let at = self.bytes.len();
        self.bytes.extend([if when { 0x80 } else { 0 }, 0]);
        at
    }

    /// Makes a branch lead here.
    fn land(&mut self, branch: usize) {
        let [high, low] = u16::try_from(self.bytes.len() - branch)
            .expect("the story is below 64 KiB")
            .to_be_bytes();
        self.bytes[branch] |= high & 0x3f;
        self.bytes[branch + 1] = low;
    }

    fn jump(&mut self, to: usize) {
        let next = self.bytes.len() + 3;
        let back = u16::try_from(next - 2 - to).expect("the story is below 64 KiB");
        self.bytes.push(0x8c);
        self.bytes.extend(back.wrapping_neg().to_be_bytes());
    }

    fn print(&mut self, text: &str) {
        self.bytes.push(0xb2);
        self.bytes.extend(pack(text));
    }
}

/// Packs a text of the default alphabets.
fn pack(text: &str) -> Vec<u8> {
    let mut codes: Vec<u8> = Vec::new();
    for byte in text.bytes() {
        let byte = if byte == b'\n' { b'\r' } else { byte };
        let found = ALPHABETS.iter().enumerate().rev().find_map(|(set, letters)| {
            letters.iter().position(|letter| *letter == byte).map(|at| (set, at))
        });
        let code = |at: usize| u8::try_from(at + 6).expect("an alphabet has 26 letters");
        match found {
            _ if byte == b' ' => codes.push(0),
            Some((0, at)) => codes.push(code(at)),
            Some((1, at)) => codes.extend([4, code(at)]),
            Some((_, at)) => codes.extend([5, code(at)]),
            None => codes.extend([5, 6, byte >> 5, byte & 0x1f]),
        }
    }
    codes.resize(codes.len().next_multiple_of(3), 5);
    let pack = |three: &[u8]| three.iter().fold(0, |word, code| word << 5 | u16::from(*code));
    let mut words: Vec<u16> = codes.chunks(3).map(pack).collect();
    if let Some(last) = words.last_mut() {
        *last |= 0x8000;
    }
    words.into_iter().flat_map(u16::to_be_bytes).collect()
}
