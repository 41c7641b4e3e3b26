//! Streams of Glk: the window, memory, files and resources.

use crate::fault::Fault;
use crate::glk::{Call, Done, OBJECTS_MAX};
use crate::machine::{CONSOLE, FILES};
use crate::state::{Stream, Wait};
use crate::world::World;
use omni_machine::{Effect, IoId, IoOp, IoRequest};

/// Bytes of a file at most; what is written beyond is lost.
const FILE_BYTES_MAX: usize = 16 << 20;

/// Streams of files and resources at most, as all of each is held.
const LARGE_MAX: usize = 16;

/// Bytes of text that are held back until the story waits.
const HELD_MAX: usize = 4096;

/// Ticks for which text is held back at most.
const HELD_TICKS: u64 = 10_000_000;

/// Characters that one function reads or writes at most.
const TEXT_MAX: u32 = 1 << 20;

/// What a character read or written counts as, in bytes of work.
const CHAR_WORK: u64 = 16;

/// What a stream is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    Window = 0,
    Memory = 1,
    File = 2,
    Resource = 3,
}

/// A stream that is to be opened.
pub(crate) struct Opening(pub(crate) Stream);

impl Opening {
    /// Of this sort, in a mode: write 1, read 2, both 3, append 5.
    pub(crate) fn of(source: Source, mode: u32, rock: u32) -> Self {
        Self(Stream {
            rock,
            sort: source as u8,
            reads: matches!(mode, 2 | 3),
            writes: mode != 2,
            ..Stream::default()
        })
    }
}

/// Whether the filemode is one of the four.
fn is_mode(mode: u32) -> bool {
    matches!(mode, 1 | 2 | 3 | 5)
}

impl World {
    /// Opens a stream, and gives its number where there is room.
    pub(crate) fn open(&mut self, Opening(stream): Opening) -> Option<u32> {
        let large = |stream: &Stream| stream.sort >= Source::File as u8;
        let many = || self.glk.streams.values().filter(|held| large(held)).count() >= LARGE_MAX;
        if self.glk.streams.len() >= OBJECTS_MAX || large(&stream) && many() {
            return None;
        }
        let id = self.new_object();
        self.glk.streams.insert(id, stream);
        Some(id)
    }

    /// Closes a stream, and gives the counts of what was read and written.
    pub(crate) fn close_stream(&mut self, id: u32) -> (u32, u32) {
        if self.glk.current == id {
            self.glk.current = 0;
        }
        if let Some(window) = self.glk.window.as_mut().filter(|window| window.echo == id) {
            window.echo = 0;
        }
        self.glk.streams.remove(&id).map_or((0, 0), |stream| stream.counts)
    }

    pub(crate) fn stream_function(
        &mut self,
        number: u32,
        call: &mut Call<'_>,
    ) -> Result<Done, Fault> {
        let id = call.arg(0);
        let value = match number {
            0x40 => {
                let next = self.glk.streams.range(id.saturating_add(1)..).next();
                let (id, rock) = next.map_or((0, 0), |(id, stream)| (*id, stream.rock));
                self.put_ref(call, 1, &[rock])?;
                id
            }
            0x41 => self.glk.streams.get(&id).map_or(0, |stream| stream.rock),
            0x42 | 0x138 => return Ok(self.open_file(call, number == 0x138)),
            0x43 | 0x139 => self.open_memory(call, number == 0x139),
            0x44 => return self.close_by_story(call),
            0x45 => {
                self.seek(id, call.arg(1).cast_signed(), call.arg(2));
                0
            }
            0x46 => self.glk.streams.get(&id).map_or(0, |stream| stream.at / unit(stream)),
            0x47 => {
                self.glk.current = if self.glk.streams.contains_key(&id) { id } else { 0 };
                0
            }
            0x48 => self.glk.current,
            _ => self.open_resource(call, number == 0x13a),
        };
        Ok(Done::Value(value))
    }

    fn open_memory(&mut self, call: &Call<'_>, wide: bool) -> u32 {
        let [at, room, mode, rock] = [0, 1, 2, 3].map(|nth| call.arg(nth));
        if !is_mode(mode) || mode == 5 {
            return 0;
        }
        let Opening(mut stream) = Opening::of(Source::Memory, mode, rock);
        (stream.wide, stream.buffer) = (wide, (at, room));
        stream.end = if mode == 1 || at == 0 { 0 } else { room };
        self.open(Opening(stream)).unwrap_or(0)
    }

    fn open_resource(&mut self, call: &Call<'_>, wide: bool) -> u32 {
        let Opening(mut stream) = Opening::of(Source::Resource, 2, call.arg(1));
        let Some((bytes, text)) = self.story.data(call.arg(0)) else { return 0 };
        if bytes.len() > FILE_BYTES_MAX {
            return 0;
        }
        (stream.wide, stream.text) = (wide, text);
        self.worked(bytes.len() as u64);
        (stream.bytes, stream.end) = (bytes.to_vec(), bytes.len() as u32);
        self.open(Opening(stream)).unwrap_or(0)
    }

    fn open_file(&mut self, call: &Call<'_>, wide: bool) -> Done {
        let [id, mode, rock] = [0, 1, 2].map(|nth| call.arg(nth));
        let Some(file) = self.glk.files.get(&id).cloned().filter(|_| is_mode(mode)) else {
            return Done::Value(0);
        };
        let deleted = self.glk.deleted.contains(&file.name);
        self.glk.about = [mode | u32::from(wide) << 8, file.usage, rock];
        self.glk.name.clone_from(&file.name);
        if mode == 1 || deleted {
            let content = if mode == 2 { None } else { Some(Vec::new()) };
            return Done::Value(self.open_content(content));
        }
        self.ask_for_file(Wait::Open, file.name);
        Done::Waits
    }

    /// Opens the file that the record is about, with what it holds.
    pub(crate) fn open_content(&mut self, content: Option<Vec<u8>>) -> u32 {
        let [how, usage, rock] = self.glk.about;
        let mode = how & 0xff;
        let Some(mut bytes) = content.or_else(|| (mode != 2).then(Vec::new)) else { return 0 };
        bytes.truncate(FILE_BYTES_MAX);
        let Opening(mut stream) = Opening::of(Source::File, mode, rock);
        (stream.wide, stream.text) = (how >> 8 != 0, usage & 0x100 != 0);
        stream.end = bytes.len() as u32;
        stream.at = if mode == 5 { stream.end } else { 0 };
        stream.bytes = bytes;
        stream.name = std::mem::take(&mut self.glk.name);
        if stream.writes {
            self.glk.deleted.retain(|name| *name != stream.name);
        }
        self.open(Opening(stream)).unwrap_or(0)
    }

    fn close_by_story(&mut self, call: &mut Call<'_>) -> Result<Done, Fault> {
        let id = call.arg(0);
        let window = self.glk.window.as_ref().is_some_and(|window| window.stream == id);
        if window || !self.glk.streams.contains_key(&id) {
            return Ok(Done::Value(0));
        }
        let file = self.glk.streams.get_mut(&id).filter(|stream| is_file(stream) && stream.writes);
        let file =
            file.map(|file| (std::mem::take(&mut file.name), std::mem::take(&mut file.bytes)));
        let counts = self.close_stream(id);
        self.put_ref(call, 1, &[counts.0, counts.1])?;
        let Some((name, bytes)) = file else { return Ok(Done::Value(0)) };
        self.glk.bytes = bytes;
        self.ask_for_file(Wait::Written, name);
        Ok(Done::Waits)
    }

    fn seek(&mut self, id: u32, by: i32, mode: u32) {
        let Some(stream) = self.glk.streams.get_mut(&id) else { return };
        let unit = i64::from(unit(stream));
        let from = match mode {
            1 => stream.at,
            2 => stream.end,
            _ => 0,
        };
        let to = (i64::from(from) + i64::from(by) * unit).clamp(0, stream.end.into());
        stream.at = u32::try_from(to).expect("not beyond the end");
    }

    /// Writes all of a file to a stream of bytes, or nothing; says whether it could.
    pub(crate) fn write_all(&mut self, id: u32, file: &[u8]) -> bool {
        let stream = self.glk.streams.get(&id).filter(|stream| stream.writes);
        stream.is_some_and(|stream| has_room(stream, file))
            && file.iter().all(|byte| self.put_to(id, (*byte).into()).is_ok())
    }

    /// Reads a stream to its end, as bytes.
    pub(crate) fn read_all(&mut self, id: u32) -> Option<Vec<u8>> {
        let mut file = Vec::new();
        while let Some(char) = self.take_from(id).ok()? {
            file.push(char as u8);
            if file.len() > FILE_BYTES_MAX {
                return None;
            }
        }
        Some(file)
    }

    /// A character to the current stream.
    pub(crate) fn put(&mut self, char: u32) -> Result<(), Fault> {
        self.put_to(self.glk.current, char)
    }

    /// A character to a stream.
    pub(crate) fn put_to(&mut self, id: u32, char: u32) -> Result<(), Fault> {
        let Some(stream) = self.glk.streams.get_mut(&id).filter(|stream| stream.writes) else {
            return Ok(());
        };
        stream.counts.1 = stream.counts.1.wrapping_add(1);
        self.work.set(self.work.get() + CHAR_WORK);
        match stream.sort {
            0 => {
                self.print(char);
                let echo = self.glk.window.as_ref().map_or(0, |window| window.echo);
                if echo != 0 && echo != id {
                    return self.put_to(echo, char);
                }
                Ok(())
            }
            1 => self.put_in_memory(id, char),
            _ => {
                put_in_file(stream, char);
                Ok(())
            }
        }
    }

    /// A character to the console.
    pub(crate) fn print(&mut self, char: u32) {
        if self.glk.out.is_empty() {
            self.glk.flushed = self.now;
        }
        if let Ok(byte @ 32..127) = u8::try_from(char) {
            self.glk.out.push(byte);
            if self.glk.out.len() >= HELD_MAX {
                self.flush();
            }
            return;
        }
        let char = char::from_u32(char).unwrap_or(char::REPLACEMENT_CHARACTER);
        if char == '\n' && self.echo {
            self.glk.out.push(b'\r');
        }
        self.glk.out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
        if self.glk.out.len() >= HELD_MAX {
            self.flush();
        }
    }

    /// Lets text go that is held back for long: the story may compute for longer still.
    pub(crate) fn flush_late(&mut self) {
        let tick = self.cpu.tick;
        if !self.glk.out.is_empty() && tick.saturating_sub(self.glk.flushed) >= HELD_TICKS {
            self.now = tick;
            self.flush();
        }
    }

    /// Ticks until text is to be let go.
    pub(crate) fn held_ticks(&self) -> u64 {
        if self.glk.out.is_empty() {
            return u64::MAX;
        }
        self.glk.flushed.saturating_add(HELD_TICKS).saturating_sub(self.cpu.tick)
    }

    /// The end of the story: text goes, and so do files that are still open.
    pub(crate) fn end(&mut self) {
        self.flush();
        let open =
            |(id, stream): (&u32, &Stream)| (is_file(stream) && stream.writes).then_some(*id);
        let open: Vec<u32> = self.glk.streams.iter().filter_map(open).collect();
        for id in open {
            let Some(stream) = self.glk.streams.get_mut(&id) else { continue };
            let name = std::mem::take(&mut stream.name);
            let op = IoOp::SaveFile { name, bytes: std::mem::take(&mut stream.bytes) };
            self.close_stream(id);
            // Nothing waits for it.
            let request = IoRequest { id: IoId(self.glk.next_io), port: FILES, op };
            self.glk.next_io = self.glk.next_io.wrapping_add(1);
            self.effects.push((self.now, Effect::Io(request)));
        }
    }

    /// Lets the text go that is held back.
    pub(crate) fn flush(&mut self) {
        self.glk.flushed = self.now;
        if !self.glk.out.is_empty() {
            let bytes = std::mem::take(&mut self.glk.out);
            self.effects.push((self.now, Effect::Output { port: CONSOLE, bytes }));
        }
    }

    fn put_in_memory(&mut self, id: u32, char: u32) -> Result<(), Fault> {
        let Some(stream) = self.glk.streams.get_mut(&id) else { return Ok(()) };
        let (first, room) = stream.buffer;
        if first == 0 || stream.at >= room {
            return Ok(());
        }
        let (at, wide) = (stream.at, stream.wide);
        stream.at += 1;
        stream.end = stream.end.max(stream.at);
        if wide {
            return self.set_long(first.wrapping_add(at.wrapping_mul(4)), char);
        }
        let byte = u8::try_from(char).unwrap_or(b'?');
        self.write(first.wrapping_add(at), &[byte])
    }

    /// The next character of a stream; none at its end.
    fn take_from(&mut self, id: u32) -> Result<Option<u32>, Fault> {
        let Some(stream) = self.glk.streams.get_mut(&id).filter(|stream| stream.reads) else {
            return Ok(None);
        };
        if stream.at >= stream.end {
            return Ok(None);
        }
        self.work.set(self.work.get() + CHAR_WORK);
        let char = if stream.sort == Source::Memory as u8 {
            let (at, wide, (first, _)) = (stream.at, stream.wide, stream.buffer);
            stream.at += 1;
            if wide {
                self.long(first.wrapping_add(at.wrapping_mul(4)))?
            } else {
                self.byte(first.wrapping_add(at))?.into()
            }
        } else {
            take_from_file(stream)
        };
        if let Some(stream) = self.glk.streams.get_mut(&id) {
            stream.counts.0 = stream.counts.0.wrapping_add(1);
        }
        Ok(Some(char))
    }

    /// Functions that print to streams and read from them.
    pub(crate) fn text_function(&mut self, number: u32, call: &mut Call<'_>) -> Result<u32, Fault> {
        let current = self.glk.current;
        let [a, b, c] = [0, 1, 2].map(|nth| call.arg(nth));
        match number {
            0x80 => self.put_to(current, a & 0xff)?,
            0x81 => self.put_to(a, b & 0xff)?,
            0x82 => self.put_string(current, a, false)?,
            0x83 => self.put_string(a, b, false)?,
            0x84 => self.put_buffer(current, (a, b), 1)?,
            0x85 => self.put_buffer(a, (b, c), 1)?,
            0x128 => self.put_to(current, a)?,
            0x129 => self.put_string(current, a, true)?,
            0x12a => self.put_buffer(current, (a, b), 4)?,
            0x12b => self.put_to(a, b)?,
            0x12c => self.put_string(a, b, true)?,
            0x12d => self.put_buffer(a, (b, c), 4)?,
            0x90 | 0x130 => {
                let char = self.take_from(a)?;
                let narrow = |char| if number == 0x90 && char > 0xff { 0x3f } else { char };
                return Ok(char.map_or(u32::MAX, narrow));
            }
            0x91 => return self.take_text(a, (b, c), (1, true)),
            0x92 => return self.take_text(a, (b, c), (1, false)),
            0x131 => return self.take_text(a, (b, c), (4, false)),
            0x132 => return self.take_text(a, (b, c), (4, true)),
            // Styles make no difference.
            _ => {}
        }
        Ok(0)
    }

    fn put_string(&mut self, id: u32, at: u32, wide: bool) -> Result<(), Fault> {
        // Strings are given with the byte that says what they are, or without.
        let (size, mark) = if wide { (4, 0xe2) } else { (1, 0xe0) };
        let mut at = if self.byte(at)? == mark { at.wrapping_add(size) } else { at };
        for _ in 0..TEXT_MAX {
            let char = if wide { self.long(at)? } else { self.byte(at)?.into() };
            if char == 0 {
                return Ok(());
            }
            self.put_to(id, char)?;
            at = at.wrapping_add(size);
        }
        Err(Fault::TooMuch)
    }

    fn put_buffer(&mut self, id: u32, (at, count): (u32, u32), size: u32) -> Result<(), Fault> {
        if count > TEXT_MAX {
            return Err(Fault::TooMuch);
        }
        for nth in 0..count {
            let at = at.wrapping_add(size * nth);
            let char = if size == 4 { self.long(at)? } else { self.byte(at)?.into() };
            self.put_to(id, char)?;
        }
        Ok(())
    }

    /// Reads characters into memory: a line with its end and a zero after it, or as many as fit.
    fn take_text(
        &mut self,
        id: u32,
        (at, room): (u32, u32),
        (size, line): (u32, bool),
    ) -> Result<u32, Fault> {
        let most = room.saturating_sub(u32::from(line)).min(TEXT_MAX);
        let mut count = 0;
        while count < most {
            let Some(char) = self.take_from(id)? else { break };
            self.put_char_at(at, count, size, char)?;
            count += 1;
            if line && char == 10 {
                break;
            }
        }
        if line && room > 0 {
            self.put_char_at(at, count, size, 0)?;
        }
        Ok(count)
    }

    /// A character into an array in memory; one without an address takes nothing.
    pub(crate) fn put_char_at(
        &mut self,
        at: u32,
        nth: u32,
        size: u32,
        char: u32,
    ) -> Result<(), Fault> {
        let place = at.wrapping_add(size.wrapping_mul(nth));
        match size {
            _ if at == 0 => Ok(()),
            4 => self.set_long(place, char),
            _ => self.write(place, &[u8::try_from(char).unwrap_or(b'?')]),
        }
    }
}

fn is_file(stream: &Stream) -> bool {
    stream.sort == Source::File as u8
}

/// Whether there is room for bytes, each as a character.
fn has_room(stream: &Stream, bytes: &[u8]) -> bool {
    let at = stream.at as usize;
    let count = match (stream.wide, stream.text) {
        (true, false) => 4 * bytes.len(),
        (true, true) => bytes.len() + bytes.iter().filter(|byte| **byte >= 0x80).count(),
        (false, _) => bytes.len(),
    };
    match stream.sort {
        0 => true,
        1 => stream.buffer.0 != 0 && at + bytes.len() <= stream.buffer.1 as usize,
        _ => at + count <= FILE_BYTES_MAX,
    }
}

/// Bytes of a place of the stream: those of files of wide characters are counted in fours.
fn unit(stream: &Stream) -> u32 {
    if is_file(stream) && stream.wide && !stream.text { 4 } else { 1 }
}

/// A character as the file's format has it, over what was there.
fn put_in_file(stream: &mut Stream, char: u32) {
    let mut small = [0; 4];
    let bytes: &[u8] = match (stream.wide, stream.text) {
        (true, false) => {
            small = char.to_be_bytes();
            &small
        }
        (true, true) => {
            let char = char::from_u32(char).unwrap_or(char::REPLACEMENT_CHARACTER);
            char.encode_utf8(&mut small).as_bytes()
        }
        (false, _) => {
            small[0] = u8::try_from(char).unwrap_or(b'?');
            &small[..1]
        }
    };
    let at = stream.at as usize;
    let end = at + bytes.len();
    if end > FILE_BYTES_MAX {
        return;
    }
    if stream.bytes.len() < end {
        stream.bytes.resize(end, 0);
    }
    stream.bytes[at..end].copy_from_slice(bytes);
    (stream.at, stream.end) = (end as u32, stream.bytes.len() as u32);
}

/// The next character of a file or resource that is not at its end.
fn take_from_file(stream: &mut Stream) -> u32 {
    let rest = stream.bytes.get(stream.at as usize..).unwrap_or(&[]);
    let (char, count) = match (stream.wide, stream.text, rest) {
        (true, false, [a, b, c, d, ..]) => (u32::from_be_bytes([*a, *b, *c, *d]), 4),
        (true, true, [first, ..]) if *first >= 0x80 => {
            let head = &rest[..rest.len().min(4)];
            let valid = match std::str::from_utf8(head) {
                Ok(text) => text,
                Err(error) => std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or(""),
            };
            valid.chars().next().map_or((0x3f, 1), |char| (char.into(), char.len_utf8()))
        }
        (_, _, [first, ..]) => ((*first).into(), 1),
        (_, _, []) => (0, 0),
    };
    stream.at = stream.at.saturating_add(count as u32).min(stream.end);
    char
}
