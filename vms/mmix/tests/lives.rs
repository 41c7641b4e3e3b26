//! The sample and small programs, as a user runs them.

mod driver;

use driver::{Driver, spec_of};
use omni_machine::Stop;
use omni_vm_mmix::{SAMPLE, sample_spec};

#[test]
fn the_sample_reads_computes_and_keeps_a_file() {
    let mut driver = Driver::new(&sample_spec());
    assert_eq!(driver.settle(), Stop::Idle { wake: None });
    assert_eq!(driver.line("some words"), Stop::Idle { wake: None });
    let said = driver.said();
    assert!(said.starts_with("What is it?\nThe sum is "), "{said}");
    assert!(said.contains("; and so on: "), "{said}");
    assert_eq!(driver.files["notes"].len(), 16);
    driver.line("q");
    assert!(!driver.said().contains("did what it may not"), "{}", driver.said());
    assert!(SAMPLE.contains("Main"));
}

/// Runs a program to its end, and gives its exit code and what it printed.
fn run(program: &str, options: &[(&str, &str)]) -> (u64, String) {
    let mut driver = Driver::new(&spec_of(program.as_bytes(), options));
    match driver.settle() {
        Stop::Halted { code } => (code, driver.said()),
        other @ (Stop::Reached | Stop::Idle { .. } | Stop::Kicked | Stop::Hit(_)) => {
            panic!("{other:?} after {}", driver.said())
        }
    }
}

#[test]
fn a_program_says_hello_with_its_arguments_and_ends_with_255() {
    let program = "argv IS $1\n  LOC #100\nMain LDOU $255,argv,0\n TRAP 0,Fputs,StdOut\n\
                   GETA $255,String\n"
        .to_owned()
        + " LDOU $255,argv,8\n TRAP 0,Fputs,StdOut\n GETA $255,String\n TRAP 0,Fputs,StdOut\n \
           SET $255,42\n TRAP 0,Halt,0\nString BYTE \", world\",#a,0\n";
    let program = program.replace("GETA $255,String\n LDOU", " SWYM\n LDOU");
    assert_eq!(run(&program, &[("argv", "hi\0hello")]), (42, "hihello, world\n".into()));
}

#[test]
fn the_end_of_what_is_typed_ends_a_program_that_copies_lines() {
    let program = "  LOC Data_Segment\n GREG @\nBuf OCTA 0\n  LOC Buf+64\nArg OCTA Buf,60\n\
                   Put OCTA 0\n  LOC #100\nMain LDA $255,Arg\n\
                   TRAP 0,Fgets,StdIn\n BN $255,Done\n LDA $255,Buf\n \
                   TRAP 0,Fputs,StdOut\n JMP Main\nDone SET $255,7\n TRAP 0,Halt,0\n";
    let program = program.replace("\nTRAP", "\n TRAP");
    let mut driver = Driver::new(&spec_of(program.as_bytes(), &[]));
    assert_eq!(driver.settle(), Stop::Idle { wake: None });
    assert_eq!(driver.line("one"), Stop::Idle { wake: None });
    assert_eq!(driver.typed(b"rest"), Stop::Idle { wake: None });
    assert_eq!(driver.typed(b""), Stop::Halted { code: 7 });
    assert_eq!(driver.said(), "one\nrest");
}
