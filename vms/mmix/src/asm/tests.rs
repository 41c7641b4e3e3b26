//! Tests of the assembler.

use super::{assemble, is_program};

/// The words at an address and after it.
fn words(text: &str, at: u64, count: u64) -> Vec<u32> {
    let program = assemble(text.as_bytes()).unwrap_or_else(|errors| panic!("{errors}"));
    let word = |nth| program.memory.get(&(at + 4 * nth)).copied().unwrap_or(0);
    (0..count).map(word).collect()
}

fn error(text: &str) -> String {
    assemble(text.as_bytes()).expect_err("it is wrong").to_string()
}

#[test]
fn instructions_have_the_fields_of_the_manual() {
    let cases = [
        ("ADD $1,$2,$3", 0x2001_0203),
        ("ADD $1,$2,3", 0x2101_0203),
        ("NEG $1,2,$3", 0x3401_0203),
        ("NEG $1,3", 0x3501_0003),
        ("FIX $1,ROUND_OFF,$3", 0x0501_0103),
        ("FLOT $1,7", 0x0901_0007),
        ("SETL $1,#1234", 0xe301_1234),
        ("SET $1,$2", 0xc101_0200),
        ("SET $1,2", 0xe301_0002),
        ("BZ $1,@+8", 0x4201_0002),
        ("BZ $1,@-4", 0x4301_ffff),
        ("JMP @-4", 0xf1ff_ffff),
        ("JMP @+4", 0xf000_0001),
        ("PUSHJ 3,@+4", 0xf203_0001),
        ("GETA $3,@", 0xf403_0000),
        ("LDO $1,$2", 0x8d01_0200),
        ("LDO $1,$2,$3", 0x8c01_0203),
        ("STCO 5,$2,8", 0xb505_0208),
        ("PRELD 70,$4,0", 0x9b46_0400),
        ("PUT rA,$3", 0xf615_0003),
        ("PUT rD,0", 0xf701_0000),
        ("GET $3,rJ", 0xfe03_0004),
        ("POP 1,2", 0xf801_0002),
        ("POP", 0xf800_0000),
        ("TRAP 0,Fputs,StdOut", 0x0000_0701),
        ("TRAP 1,#1234", 0x0001_1234),
        ("TRIP 1,$100,$3", 0xff01_6403),
        ("SAVE $255,0", 0xfaff_0000),
        ("UNSAVE $255", 0xfb00_00ff),
        ("SYNC 3", 0xfc00_0003),
        ("RESUME", 0xf900_0000),
        ("16ADDU $1,$2,3", 0x2f01_0203),
        ("MXOR $1,$2,$3", 0xde01_0203),
        ("SETML $1,'a'<<2+1", 0xe201_0185),
        ("LDA $1,$2,4", 0x2301_0204),
    ];
    for (line, word) in cases {
        let text = format!("        LOC #100\nMain    {line}\n");
        assert_eq!(words(&text, 0x100, 1), [word], "{line}");
    }
}

#[test]
fn labels_are_known_before_and_after() {
    let text = "Main JMP 2F\n2H JMP 2B\n3H JMP 3F;3H JMP Main\n  OCTA End\nEnd IS @\n";
    let found = words(text, 0, 6);
    assert_eq!(found, [0xf000_0001, 0xf000_0000, 0xf000_0001, 0xf1ff_fffd, 0, 0x18]);
}

#[test]
fn global_registers_are_shared_by_equal_base_addresses() {
    let text = "  LOC Data_Segment\nA GREG @\nB GREG @\nC GREG 0\nD GREG 0\nX OCTA 1\n  LOC #100\n\
                Main LDO $1,X+8\n  ADD $1,B,D\n";
    let found = words(text, 0x100, 2);
    assert_eq!(found, [0x8d01_fe08, 0x2001_fefc]);
    let program = assemble(text.as_bytes()).expect("it is sound");
    assert_eq!(program.globals, [0, 0, 0x20 << 56, 0x100]);
}

#[test]
fn prefixes_qualify_symbols() {
    let text = "x IS 1\n PREFIX Foo:\nx IS 2\n PREFIX Bar:\nx IS 3\n PREFIX :\n\
                Main TETRA x,:x,Foo:x,Foo:Bar:x\n";
    assert_eq!(words(text, 0, 4), [1, 1, 2, 3]);
}

#[test]
fn data_are_aligned_and_strings_are_lists() {
    let text = "Main BYTE \"a;b\",0 ; BYTE 1\n WYDE #203\n TETRA 4//8>>32\n  OCTA -1,1F\n1H IS 5\n";
    let found = words(text, 0, 8);
    let whole = [0x613b_6200, 0x0100_0203, 0x8000_0000, 0, !0, !0, 0, 5];
    assert_eq!(found, whole);
}

#[test]
fn special_data_are_not_loaded() {
    let text = "Main SWYM\n BSPEC 5\n TETRA 7\n OCTA 9\n ESPEC\n SWYM 1\n";
    assert_eq!(words(text, 0, 4), [0xfd00_0000, 0xfd00_0001, 0, 0]);
}

#[test]
fn errors_name_their_lines() {
    let cases = [
        ("Main ADD $1,$2\n", "line 1: three operands are wanted"),
        ("\nMain FOO 1\n", "line 2: there is no operation FOO"),
        ("Main JMP 1F\n", "line 1: no label 1H follows"),
        ("Main JMP Foo\n", "line 1: the symbol :Foo is not defined"),
        ("Main SWYM\nMain SWYM\n", "line 2: the symbol Main is defined already"),
        ("Main LDO $1,#1000\n", "line 1: no base address is close enough to 0x1000"),
        ("X SWYM\n", "line 2: the program has no label Main, where it would begin"),
        ("# 40 \"a.mms\"\nMain FOO\n", "line 40: there is no operation FOO"),
        ("Main OCTA 1F+1\n", "line 1: 1 is not defined yet, so nothing can be made of it"),
        ("Main BYTE \"\"\n", "line 1: a string is empty"),
        ("Main SET $1,5//5\n", "line 1: a fraction is not below one"),
        ("Main FADD $1,$2,3\n", "line 1: Z is no register"),
        ("Main IS $256\n", "line 1: there is no register $256"),
    ];
    for (text, message) in cases {
        assert!(error(text).starts_with(message), "{}", error(text));
    }
    let deep = format!("Main SET $1,{}1{}\n", "(".repeat(100_000), ")".repeat(100_000));
    assert!(error(&deep).contains("too deep"));
}

#[test]
fn programs_are_known_by_the_label_main() {
    assert!(is_program(b"% text\nMain    ADD $1,$2,3\n"));
    assert!(is_program(b":Main\tTRAP 0\n"));
    assert!(!is_program(b"Main street\n") && !is_program(b"Mainly ADD\n") && !is_program(b""));
}
