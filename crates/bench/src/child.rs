//! Programs of the host that are measured: their answers, CPU time and memory.

use crate::BenchError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The end of the output is enough to wait for words and to tell what went wrong.
const HEARD_BYTES_MAX: usize = 16 << 10;

/// What was heard of a program or a machine since it was last spoken to.
#[derive(Clone, Default, Debug)]
pub(crate) struct Heard(Vec<u8>);

impl Heard {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        let over = self.0.len().saturating_sub(HEARD_BYTES_MAX);
        self.0.drain(..over);
    }

    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }

    pub(crate) fn contains(&self, words: &str) -> bool {
        self.0.windows(words.len()).any(|window| window == words.as_bytes())
    }

    /// The whole line that begins like this.
    pub(crate) fn line(&self, beginning: &str) -> Option<String> {
        let text = String::from_utf8_lossy(&self.0);
        let whole = text.rsplit_once('\n')?.0;
        let line = whole.lines().find(|line| line.starts_with(beginning))?;
        Some(line.trim_end().to_owned())
    }

    /// The last line or two, for a report of what went wrong.
    pub(crate) fn tail(&self) -> String {
        let text = String::from_utf8_lossy(&self.0);
        let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = lines[lines.len().saturating_sub(2)..].join(" | ");
        if last.is_empty() { "nothing".into() } else { last }
    }
}

/// A program that runs. It ends with this value.
pub(crate) struct Program {
    who: &'static str,
    child: Child,
    /// Nothing once the end of input was told.
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    pub(crate) heard: Heard,
}

impl Program {
    /// Starts one; what it writes to standard error is heard by nobody.
    pub(crate) fn start(who: &'static str, mut command: Command) -> Result<Self, BenchError> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child =
            command.spawn().map_err(|error| BenchError::Program { program: name, error })?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("asked for");
        Ok(Self { who, child, stdin, stdout, heard: Heard::default() })
    }

    /// Types these bytes.
    pub(crate) fn say(&mut self, bytes: &[u8]) -> Result<(), BenchError> {
        self.heard.forget();
        let Some(stdin) = &mut self.stdin else {
            return Err(BenchError::Ended { who: self.who, said: String::new() });
        };
        let said = stdin.write_all(bytes).and_then(|()| stdin.flush());
        said.map_err(|error| BenchError::Program { program: self.who.into(), error })
    }

    /// Tells the end of its input.
    pub(crate) fn say_no_more(&mut self) {
        self.stdin = None;
    }

    /// Has one that takes samples of itself forget those so far.
    pub(crate) fn sample_anew(&self) {
        // One that has gone has nothing to forget, which whoever listens to it will hear of.
        let _ = kill_process(Pid::from_child(&self.child), Signal::USR1);
    }

    /// Tells the end of its input, and listens until it ends.
    pub(crate) fn end(&mut self, limit: Duration) -> Result<(), BenchError> {
        self.say_no_more();
        match self.listen(limit, |_| None::<()>) {
            Err(BenchError::Ended { .. }) => Ok(()),
            other => other,
        }
    }

    /// Listens until something is so of what was heard.
    pub(crate) fn listen<T>(
        &mut self,
        limit: Duration,
        until: impl Fn(&Heard) -> Option<T>,
    ) -> Result<T, BenchError> {
        let start = Instant::now();
        loop {
            if let Some(found) = until(&self.heard) {
                return Ok(found);
            }
            let (who, said) = (self.who, self.heard.tail());
            let Some(left) = limit.checked_sub(start.elapsed()) else {
                return Err(BenchError::Slow { who, limit, said });
            };
            let wrong = |error: io::Error| BenchError::Program { program: who.into(), error };
            if !self.ready(left).map_err(|error| wrong(error.into()))? {
                continue;
            }
            let mut bytes = [0; 4096];
            match self.stdout.read(&mut bytes).map_err(wrong)? {
                0 => return Err(BenchError::Ended { who, said }),
                count => self.heard.push(&bytes[..count]),
            }
        }
    }

    /// Whether there is something to read within this time; a signal may end the wait early.
    fn ready(&self, left: Duration) -> rustix::io::Result<bool> {
        let mut wanted = [PollFd::new(&self.stdout, PollFlags::IN)];
        let timeout = Timespec::try_from(left).expect("minutes at most");
        match poll(&mut wanted, Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => Ok(false),
            other => other.map(|count| count > 0),
        }
    }

    /// The CPU time of all its threads, when they have come to rest.
    pub(crate) fn cpu_at_rest(&self) -> Result<Duration, BenchError> {
        let mut last = self.cpu_ns().ok_or(BenchError::NoCpuTime)?;
        // The kernel brings the account of a thread up to date when the thread stops running.
        for _ in 0..50 {
            sleep(Duration::from_millis(2));
            let now = self.cpu_ns().ok_or(BenchError::NoCpuTime)?;
            if now == last {
                break;
            }
            last = now;
        }
        Ok(Duration::from_nanos(last))
    }

    fn cpu_ns(&self) -> Option<u64> {
        let mut sum = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id())).ok()? {
            // A thread may end between the listing and the reading.
            let Ok(text) = fs::read_to_string(task.ok()?.path().join("schedstat")) else {
                continue;
            };
            sum += text.split(' ').next()?.parse::<u64>().ok()?;
        }
        Some(sum)
    }

    /// The most memory it has held so far, in bytes.
    pub(crate) fn peak_bytes(&self) -> Option<u64> {
        self.status_bytes("VmHWM:")
    }

    /// The memory it holds, in bytes.
    pub(crate) fn resident_bytes(&self) -> Option<u64> {
        self.status_bytes("VmRSS:")
    }

    /// What is held of a mapping of just this size, which is how emulators map a guest's memory.
    pub(crate) fn resident_of_mapping(&self, bytes: u64) -> Option<u64> {
        let maps = fs::read_to_string(format!("/proc/{}/smaps", self.child.id())).ok()?;
        let mut lines = maps.lines();
        lines.find(|line| kib(line, "Size:") == Some(bytes))?;
        lines.find_map(|line| kib(line, "Rss:"))
    }

    fn status_bytes(&self, name: &str) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        status.lines().find_map(|line| kib(line, name))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // One that has ended by itself is only to be collected.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The bytes of a line such as `VmRSS:  12 kB`, if it begins so.
fn kib(line: &str, name: &str) -> Option<u64> {
    let kib: u64 = line.strip_prefix(name)?.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_are_lines() {
        let mut heard = Heard::default();
        heard.push(b"ready\ndone 1");
        assert_eq!(heard.line("done"), None);
        heard.push(b"2 3\n");
        assert_eq!(heard.line("done").as_deref(), Some("done 12 3"));
        assert_eq!(heard.tail(), "ready | done 12 3");
        heard.push(b"cooked\r\nx");
        assert_eq!(heard.line("cooked").as_deref(), Some("cooked"));
        heard.push(&[b'x'; 2 * HEARD_BYTES_MAX]);
        assert_eq!(heard.0.len(), HEARD_BYTES_MAX);
    }

    #[test]
    fn a_program_answers_is_measured_and_ends_with_its_value() {
        let mut program = Program::start("cat", Command::new("cat")).expect("is everywhere");
        program.say(b"hello\n").expect("listens");
        let limit = Duration::from_secs(20);
        program.listen(limit, |heard| heard.line("hello")).expect("echoes");
        program.cpu_at_rest().expect("measured");
        assert!(program.peak_bytes() >= program.resident_bytes());
        assert!(program.resident_bytes().expect("has memory") > 0);
        let slow = program.listen(Duration::from_millis(1), |heard| heard.line("no"));
        assert!(matches!(slow, Err(BenchError::Slow { who: "cat", .. })));
    }

    #[test]
    fn a_program_whose_input_ends_is_heard_to_its_own_end() {
        let mut program = Program::start("cat", Command::new("cat")).expect("is everywhere");
        program.say(b"last words\n").expect("listens");
        program.end(Duration::from_secs(20)).expect("ends");
        assert!(program.heard.contains("last words"));
    }

    #[test]
    fn a_program_that_ends_early_says_what_it_said_last() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo trouble"]);
        let mut program = Program::start("sh", command).expect("is everywhere");
        let ended = program.listen(Duration::from_secs(20), |heard| heard.line("ready"));
        let text = ended.expect_err("it ended").to_string();
        assert!(text.contains("trouble"), "{text}");
    }
}
