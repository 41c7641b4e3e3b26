//! A story of our own, assembled here: for tests that need one, of anything that runs stories.

/// An operand.
#[derive(Clone, Copy)]
enum Arg {
    /// A constant; as a destination zero is nowhere.
    Const(i32),
    /// The stack.
    Stack,
    /// A local by number.
    Local(u8),
    /// A word of memory.
    Memory(u32),
    /// A label: as a branch, or as an address.
    Branch(&'static str),
    Label(&'static str),
}

use Arg::{Branch, Const, Label, Local, Memory, Stack};

/// A place that names a label: where, whether as a branch, the label.
type Patch = (usize, bool, &'static str);

/// What is assembled.
struct Assembler {
    bytes: Vec<u8>,
    labels: Vec<(&'static str, u32)>,
    patches: Vec<Patch>,
}

/// Where memory that can be written begins, and where it ends.
const RAM: u32 = 0x1100;
const END: u32 = 0x2000;
const HEADER_BYTES: usize = 36;

/// Variables.
const WINDOW: u32 = RAM;
const COUNT: u32 = RAM + 4;
const FILE: u32 = RAM + 8;
const STREAM: u32 = RAM + 12;
const EVENT: u32 = RAM + 16;
const WRITTEN: u32 = RAM + 32;
const LINE: u32 = RAM + 64;
const BLOCK: u32 = RAM + 192;

impl Assembler {
    fn label(&mut self, name: &'static str) {
        let at = u32::try_from(self.bytes.len()).expect("a small story");
        self.labels.push((name, at));
    }

    /// An instruction.
    fn op(&mut self, number: u16, args: &[Arg]) {
        match u8::try_from(number) {
            Ok(number) if number < 0x80 => self.bytes.push(number),
            _ => self.bytes.extend((number | 0x8000).to_be_bytes()),
        }
        let modes = args.chunks(2).map(|pair| {
            let mode = |arg: Option<&Arg>| arg.map_or(0, |arg| mode(*arg));
            mode(pair.first()) | mode(pair.get(1)) << 4
        });
        self.bytes.extend(modes);
        for arg in args {
            let at = self.bytes.len();
            match *arg {
                Const(0) | Stack => {}
                Const(value) => self.bytes.extend(value.to_be_bytes()),
                Local(number) => self.bytes.push(4 * number),
                Memory(place) => self.bytes.extend(place.to_be_bytes()),
                Branch(label) | Label(label) => {
                    self.patches.push((at, matches!(arg, Branch(_)), label));
                    self.bytes.extend([0; 4]);
                }
            }
        }
        let end = self.bytes.len();
        let branches = self.patches.iter_mut().rev().take_while(|patch| patch.0 + 40 > end);
        // A branch is from the end of its instruction, which is known now.
        for (at, branch, _) in branches {
            if *branch && self.bytes[*at..*at + 4] == [0; 4] {
                let from = u32::try_from(end).expect("a small story");
                self.bytes[*at..*at + 4].copy_from_slice(&from.to_be_bytes());
            }
        }
    }

    /// A call of Glk, its arguments first to last.
    fn glk(&mut self, number: i32, args: &[Arg], to: Arg) {
        for arg in args.iter().rev() {
            self.op(0x40, &[*arg, Stack]);
        }
        let count = i32::try_from(args.len()).expect("few arguments");
        self.op(0x130, &[Const(number), Const(count), to]);
    }

    fn function(&mut self, name: &'static str, locals: u8) {
        self.label(name);
        self.bytes.extend([0xc1, 4, locals, 0, 0]);
    }

    fn text(&mut self, name: &'static str, text: &str) {
        self.label(name);
        self.bytes.push(0xe0);
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
    }

    fn address(&self, name: &str) -> u32 {
        let found = self.labels.iter().find(|(label, _)| *label == name);
        found.expect("the label is there").1
    }

    /// The story file.
    fn finish(mut self) -> Vec<u8> {
        for (at, branch, name) in &self.patches {
            let to = self.address(name);
            let word = u32::from_be_bytes(self.bytes[*at..*at + 4].try_into().expect("four"));
            let value = if *branch { to.wrapping_sub(word).wrapping_add(2) } else { to };
            self.bytes[*at..*at + 4].copy_from_slice(&value.to_be_bytes());
        }
        let (start, table) = (self.address("start"), self.address("table"));
        assert!(self.bytes.len() <= RAM as usize, "code is below what can be written");
        self.bytes.resize(RAM as usize, 0);
        self.bytes.resize(RAM as usize + 0x100, 0);
        let header = [0x0003_0103, RAM, RAM + 0x100, END, 0x2000, start, table, 0];
        self.bytes[..4].copy_from_slice(b"Glul");
        for (nth, word) in (1..).zip(header) {
            self.bytes[4 * nth..4 * nth + 4].copy_from_slice(&word.to_be_bytes());
        }
        let word = |word: &[u8]| u32::from_be_bytes(word.try_into().expect("four"));
        let sum = self.bytes.chunks_exact(4).map(word).fold(0, u32::wrapping_add);
        self.bytes[32..36].copy_from_slice(&sum.to_be_bytes());
        self.bytes
    }
}

fn mode(arg: Arg) -> u8 {
    match arg {
        Const(0) => 0,
        Const(_) | Branch(_) | Label(_) => 3,
        Stack => 8,
        Local(_) => 9,
        Memory(_) => 7,
    }
}

/// A story of this crate: it answers lines, counts, draws by chance and by a timer, keeps a file,
/// saves its state, takes lines back, and uses the heap, floats, filters and compressed text.
#[must_use]
pub fn sample_story() -> Vec<u8> {
    let mut a = Assembler { bytes: vec![0; HEADER_BYTES], labels: vec![], patches: vec![] };
    start(&mut a);
    answer(&mut a);
    files(&mut a);
    functions(&mut a);
    data(&mut a);
    a.finish()
}

fn start(a: &mut Assembler) {
    a.function("start", 4);
    a.op(0x149, &[Const(2), Const(0)]);
    // After a restart the window is still there.
    a.glk(0x22, &[], Memory(WINDOW));
    a.op(0x23, &[Memory(WINDOW), Branch("opened")]);
    a.glk(0x23, &[Const(0), Const(0), Const(0), Const(3), Const(9)], Memory(WINDOW));
    a.label("opened");
    a.glk(0x2f, &[Memory(WINDOW)], Const(0));
    a.glk(0xd6, &[Const(3)], Const(0));
    a.op(0x72, &[Label("hello")]);
    a.label("prompt");
    a.op(0x72, &[Label("ask")]);
    a.glk(0xd0, &[Memory(WINDOW), Const(LINE.cast_signed()), Const(40), Const(0)], Const(0));
    a.label("wait");
    a.glk(0xc0, &[Const(EVENT.cast_signed())], Const(0));
    a.op(0x25, &[Memory(EVENT), Const(1), Branch("typed")]);
    a.op(0x10, &[Memory(COUNT), Const(1), Memory(COUNT)]);
    a.op(0x14, &[Memory(COUNT), Const(4), Stack]);
    a.op(0x23, &[Stack, Branch("wait")]);
    a.op(0x70, &[Const('.' as i32)]);
    a.op(0x20, &[Branch("wait")]);
}

fn answer(a: &mut Assembler) {
    a.label("typed");
    a.op(0x4a, &[Const(LINE.cast_signed()), Const(0), Local(0)]);
    for (char, label) in [
        ('u', "undo"),
        ('s', "save"),
        ('r', "restore"),
        ('q', "end"),
        ('n', "name"),
        ('!', "again"),
    ] {
        a.op(0x24, &[Local(0), Const(char as i32), Branch(label)]);
    }
    a.op(0x125, &[Local(1)]);
    a.op(0x24, &[Local(1), Const(-1), Branch("undone")]);
    a.op(0x10, &[Memory(COUNT), Const(100), Memory(COUNT)]);
    a.op(0x161, &[Label("fib"), Const(11), Stack]);
    a.op(0x71, &[Stack]);
    a.op(0x70, &[Const(' ' as i32)]);
    a.op(0x110, &[Const(1000), Stack]);
    a.op(0x71, &[Stack]);
    a.op(0x70, &[Const(' ' as i32)]);
    a.op(0x71, &[Memory(COUNT)]);
    a.op(0x160, &[Label("heap"), Const(0)]);
    a.op(0x160, &[Label("filtered"), Const(0)]);
    a.op(0x72, &[Label("packed")]);
    a.op(0x20, &[Branch("prompt")]);
    a.label("undo");
    a.op(0x126, &[Local(1)]);
    a.op(0x72, &[Label("no")]);
    a.op(0x20, &[Branch("prompt")]);
    a.label("undone");
    a.op(0x72, &[Label("back")]);
    a.op(0x20, &[Branch("prompt")]);
    a.label("again");
    a.op(0x122, &[]);
    a.label("end");
    a.op(0x120, &[]);
}

fn files(a: &mut Assembler) {
    a.label("save");
    a.glk(0x62, &[Const(1), Const(1), Const(7)], Memory(FILE));
    a.op(0x22, &[Memory(FILE), Branch("failed")]);
    a.glk(0x42, &[Memory(FILE), Const(1), Const(8)], Memory(STREAM));
    a.op(0x123, &[Memory(STREAM), Local(1)]);
    a.op(0x24, &[Local(1), Const(-1), Branch("undone")]);
    a.glk(0x44, &[Memory(STREAM), Const(WRITTEN.cast_signed())], Const(0));
    a.glk(0x67, &[Memory(FILE)], Stack);
    a.op(0x71, &[Stack]);
    a.glk(0x63, &[Memory(FILE)], Const(0));
    a.op(0x20, &[Branch("prompt")]);
    a.label("restore");
    a.glk(0x62, &[Const(1), Const(2), Const(7)], Memory(FILE));
    a.op(0x22, &[Memory(FILE), Branch("failed")]);
    a.glk(0x42, &[Memory(FILE), Const(2), Const(8)], Memory(STREAM));
    a.op(0x22, &[Memory(STREAM), Branch("failed")]);
    a.op(0x124, &[Memory(STREAM), Local(1)]);
    a.glk(0x44, &[Memory(STREAM), Const(0)], Const(0));
    a.label("failed");
    a.op(0x72, &[Label("no")]);
    a.op(0x20, &[Branch("prompt")]);
    a.label("name");
    a.glk(0x61, &[Const(0x102), Label("notes"), Const(3)], Memory(FILE));
    a.glk(0x42, &[Memory(FILE), Const(5), Const(4)], Memory(STREAM));
    a.op(0x22, &[Memory(STREAM), Branch("failed")]);
    a.glk(0x47, &[Memory(STREAM)], Const(0));
    a.op(0x72, &[Label("hello")]);
    a.glk(0x2f, &[Memory(WINDOW)], Const(0));
    a.glk(0x46, &[Memory(STREAM)], Stack);
    a.op(0x71, &[Stack]);
    a.glk(0x44, &[Memory(STREAM), Const(0)], Const(0));
    a.op(0x20, &[Branch("prompt")]);
}

fn functions(a: &mut Assembler) {
    a.function("fib", 2);
    a.op(0x26, &[Local(0), Const(2), Branch("small")]);
    a.op(0x11, &[Local(0), Const(1), Stack]);
    a.op(0x161, &[Label("fib"), Stack, Local(1)]);
    a.op(0x11, &[Local(0), Const(2), Stack]);
    a.op(0x30, &[Label("fib"), Const(1), Stack]);
    a.op(0x10, &[Stack, Local(1), Stack]);
    a.op(0x31, &[Stack]);
    a.label("small");
    a.op(0x31, &[Local(0)]);
    // A block that grows with the count, and a float in it.
    a.function("heap", 2);
    a.op(0x178, &[Const(300), Local(0)]);
    a.op(0x190, &[Memory(COUNT), Local(1)]);
    a.op(0x1a8, &[Local(1), Local(1)]);
    a.op(0x4c, &[Local(0), Const(3), Local(1)]);
    a.op(0x48, &[Local(0), Const(3), Stack]);
    a.op(0x191, &[Stack, Stack]);
    a.op(0x71, &[Stack]);
    a.op(0x10, &[Memory(COUNT), Const(0), Memory(BLOCK)]);
    a.op(0x14, &[Memory(COUNT), Const(3), Stack]);
    a.op(0x22, &[Stack, Const(0)]);
    a.op(0x179, &[Local(0)]);
    a.op(0x31, &[Const(0)]);
    // Text through a function that prints each character twice.
    a.function("filtered", 0);
    a.op(0x149, &[Const(1), Label("filter")]);
    a.op(0x72, &[Label("packed")]);
    a.op(0x71, &[Const(-17)]);
    a.op(0x149, &[Const(2), Const(0)]);
    a.op(0x31, &[Const(0)]);
    a.function("filter", 1);
    a.op(0x149, &[Const(2), Const(0)]);
    a.op(0x70, &[Local(0)]);
    a.op(0x73, &[Local(0)]);
    a.op(0x149, &[Const(1), Label("filter")]);
    a.op(0x31, &[Const(0)]);
}

fn data(a: &mut Assembler) {
    a.text("hello", "A small story of counting.\n");
    a.text("ask", "\n> ");
    a.text("no", "There is nothing to go back to.\n");
    a.text("back", "Back.\n");
    a.text("notes", "notes");
    // The tree: a zero is the end, ten an `o`, eleven the word, which is a string of its own.
    a.label("table");
    let root = a.address("table") + 12;
    let (end, inner) = (root + 9, root + 10);
    let (letter, word) = (inner + 9, inner + 11);
    for value in [31, 5, root] {
        a.bytes.extend(value.to_be_bytes());
    }
    let mut branch = |left: u32, right: u32| {
        a.bytes.push(0);
        a.bytes.extend([left, right].map(u32::to_be_bytes).concat());
    };
    branch(end, inner);
    a.bytes.push(1);
    a.bytes.push(0);
    a.bytes.extend([letter, word].map(u32::to_be_bytes).concat());
    a.bytes.extend([2, b'o', 3]);
    a.bytes.extend_from_slice(b" so \0");
    // The word, an `o`, the word, the end, lowest bits first.
    a.label("packed");
    a.bytes.extend([0xe1, 0b0011_0111, 0]);
}

#[cfg(test)]
mod tests {
    use crate::machine::tests::story_machine;
    use omni_base::Tick;
    use omni_machine::{Effect, Event, Kick, Machine, PortId};

    #[test]
    fn the_story_answers_and_takes_back() {
        let mut vm = story_machine();
        let mut effects = Vec::new();
        for line in ["", "x\n", "x\n", "u\n", "u\n", "u\n", "q\n"] {
            let bytes = line.as_bytes().to_vec();
            vm.apply(&Event::Input { port: PortId(0), bytes }, &mut effects);
            let until = Tick(vm.tick().0 + 100_000);
            vm.run(until, &Kick::default(), &mut effects);
        }
        let text: Vec<u8> = effects.iter().flat_map(|(_, effect)| output(effect)).collect();
        let text = String::from_utf8(text).expect("output is UTF-8");
        let told = ["A small story", "\n> 89 ", " 100", "  ssoo  oo  ssoo  --1177 so o so "];
        for part in told {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(text.matches("Back.").count(), 2, "{text}");
        assert!(text.contains("nothing to go back to"), "{text}");
    }

    fn output(effect: &Effect) -> Vec<u8> {
        match effect {
            Effect::Output { bytes, .. } => bytes.clone(),
            Effect::Io(_) => Vec::new(),
        }
    }
}
