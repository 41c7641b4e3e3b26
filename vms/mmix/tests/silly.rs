//! Knuth's test of the simulator: each line of its trace is what the machine here does.
#![allow(clippy::print_stdout, reason = "a test that is skipped says so")]

mod driver;

use driver::{Driver, spec_of};
use omni_base::Tick;
use omni_machine::Effect;
use std::path::PathBuf;

/// The directory of `silly.mms` and `silly.out`, where they are present.
fn silly() -> Option<(Vec<u8>, String)> {
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/mmix");
    let root = std::env::var("OMNI_MMIX_DATA").unwrap_or_else(|_| here.into());
    let root = PathBuf::from(root);
    let read = |name: &str| std::fs::read(root.join(name)).ok();
    let found = read("silly.mms").zip(read("silly.out"));
    if found.is_none() {
        println!(
            "skipped: silly.mms and silly.out of MMIXware are not in {}; \
             they are in the repository ascherer/mmix, and OMNI_MMIX_DATA names another place",
            root.display()
        );
    }
    found.map(|(program, out)| (program, String::from_utf8_lossy(&out).into_owned()))
}

/// A line of the trace: how often the place was come to, where, the instruction, what it did.
struct Line<'a> {
    at: u64,
    word: u32,
    text: &'a str,
    resumed: bool,
}

fn lines(out: &str) -> Vec<Line<'_>> {
    let line = |line: &'_ str| -> Option<(u64, u32, usize, bool)> {
        let trimmed = line.trim_start();
        let resumed = trimmed.starts_with('(');
        let start = if resumed { line.find('(')? + 1 } else { line.find(". ")? + 2 };
        let at = u64::from_str_radix(line.get(start..start + 16)?, 16).ok()?;
        let word = line.get(start + 18..start + 26)?;
        let word = word.replace("rYrZ", "").replace("..", "").replace("rZ", "");
        let word = u32::from_str_radix(&word, 16).unwrap_or(0);
        let text = line.find(')')? + if resumed { 2 } else { 1 };
        Some((at, word, text, resumed))
    };
    let mut found = Vec::new();
    for text in out.lines() {
        // What follows is the table of frequencies.
        if text.starts_with("Program profile") {
            break;
        }
        if let Some((at, word, from, resumed)) = line(text) {
            found.push(Line { at, word, text: &text[from..], resumed });
        }
    }
    found
}

/// A number as the trace has it, as bits; what it says of floats is compared as a float.
fn agrees(shown: &str, bits: u64) -> bool {
    let shown = shown.trim();
    if let Some(hex) = shown.strip_prefix('#') {
        return u64::from_str_radix(hex, 16) == Ok(bits);
    }
    let float = f64::from_bits(bits);
    let (sign, size) = match shown.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, shown),
    };
    if let Some(fraction) = size.strip_prefix("NaN") {
        let fraction = if fraction.is_empty() { ".5" } else { fraction };
        let fraction: f64 = format!("0{fraction}").parse().expect("a fraction");
        let payload = (fraction * 2f64.powi(52)) as u64;
        return float.is_nan() && bits & ((1 << 52) - 1) == payload && (bits >> 63 == 1) == sign;
    }
    if size.starts_with("Inf") {
        return float.is_infinite() && float.is_sign_negative() == sign;
    }
    if size.contains(['.', 'e']) {
        let value: f64 = shown.parse().unwrap_or(f64::NAN);
        return value.to_bits() == bits;
    }
    shown.parse::<i64>() == Ok(bits.cast_signed()) || shown.parse::<u64>() == Ok(bits)
}

#[test]
fn every_line_of_the_trace_of_silly_is_what_happens_here() {
    let Some((program, out)) = silly() else { return };
    let lines = lines(&out);
    let mut driver = Driver::new(&spec_of(&program, &[]));
    let mut effects: Vec<(Tick, Effect)> = Vec::new();
    let (mut seen, mut steps, mut wrong) = (0, 0, Vec::new());
    let mut at = 0;
    // The UNSAVE that starts all is before our time.
    let first = lines.iter().position(|line| line.at == 0x100).expect("it begins at Main");
    let mut lines = lines[first..].iter().peekable();
    while let Some(line) = lines.next() {
        // Lines between are left out of the trace: run to the next that is in it.
        while !line.resumed && steps < 5000 {
            at = driver.register("pc");
            if at == line.at {
                break;
            }
            steps += 1;
            driver.machine.inspect().expect("it is one").step(&mut effects);
        }
        assert!(steps < 5000, "{:#x} is never come to: {}", line.at, line.text);
        if line.word >> 24 == 0xf9 && lines.peek().is_some_and(|next| next.resumed) {
            continue;
        }
        let before = driver.register("rA");
        driver.machine.inspect().expect("it is one").step(&mut effects);
        steps += 1;
        seen += 1;
        check(&mut driver, line, before, &mut wrong);
    }
    println!("{seen} lines of the trace, {steps} instructions, last at {at:#x}");
    assert!(wrong.is_empty(), "{} lines differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(seen > 350);
}

/// Compares what a line says with what is so after its instruction.
fn check(driver: &mut Driver, line: &Line<'_>, before: u64, wrong: &mut Vec<String>) {
    let mut bad = |what: String| wrong.push(format!("{:#x}:{} {what}", line.at, line.text));
    let mut parts: Vec<&str> = line.text.split(", ").collect();
    let mut flags = None;
    for part in &parts {
        if let Some(value) = part.trim().strip_prefix("rA=#") {
            flags = u64::from_str_radix(value, 16).ok();
        }
        for name in ["rL", "rH", "rR", "rJ", "rO", "rG"] {
            if let Some(value) = part.trim().strip_prefix(&format!("{name}=")) {
                let found = driver.register(name);
                if !agrees(value, found) {
                    bad(format!("{name} is {found:#x}"));
                }
            }
        }
        if let Some(target) = part.trim().strip_prefix("-> #") {
            let pc = driver.register("pc");
            let sum = target.trim_end_matches(" (bad guess)").split('+');
            let term = |text: &str| match text.strip_prefix('#') {
                Some(hex) => u64::from_str_radix(hex, 16),
                None => text.parse(),
            };
            let mut terms = sum.enumerate().map(|(nth, text)| {
                if nth == 0 { u64::from_str_radix(text, 16) } else { term(text) }
            });
            if terms.try_fold(0, |sum, term| term.map(|term| sum + term)) != Ok(pc) {
                bad(format!("goes to {pc:#x}"));
            }
        }
    }
    let now = driver.register("rA");
    let sets = line.text.contains("rA =");
    let unsaved = line.text.contains("rG=");
    if flags.unwrap_or(before) != now && !sets && !unsaved {
        bad(format!("rA is {now:#x}"));
    }
    parts.retain(|part| part.trim().starts_with('$'));
    if let Some(result) = parts.first() {
        let register: String =
            result.trim()[1..].chars().take_while(char::is_ascii_digit).collect();
        let value = result.rsplit(" = ").next().unwrap_or_default();
        let value = value.rsplit('=').next().unwrap_or_default();
        let value = value.split(" -> ").next().unwrap_or_default();
        let found = driver.register(&format!("r{register}"));
        if !agrees(value, found) {
            bad(format!("${register} is {found:#x}"));
        }
    }
}
