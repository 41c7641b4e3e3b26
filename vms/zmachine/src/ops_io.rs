//! The opcodes that print and that steer output.

use crate::fault::Fault;
use crate::machine::Vm;
use crate::ops::Args;

/// Tables that stream 3 may have open at once (the Standard, section 7.1.2.1.1).
pub(crate) const TABLES_MAX: usize = 16;

/// Characters of a rectangle that one instruction may print.
const RECTANGLE_MAX: u32 = 0x4000;

/// Prints the text that follows the opcode.
pub(crate) fn print(vm: &mut Vm) -> Result<(), Fault> {
    vm.cpu.pc = vm.print_text(vm.cpu.pc)?;
    Ok(())
}

/// Prints the text that follows and a new line, and returns true.
pub(crate) fn print_ret(vm: &mut Vm, _args: &Args) -> Result<(), Fault> {
    print(vm)?;
    vm.print_zscii(13)?;
    vm.ret(1)
}

/// Prints the string at a packed address.
pub(crate) fn print_paddr(vm: &mut Vm, args: &Args) -> Result<(), Fault> {
    let at = vm.story.string_at(args.get(0)?);
    vm.print_text(at).map(|_| ())
}

/// Prints a rectangle of ZSCII.
pub(crate) fn print_table(vm: &mut Vm, args: &Args) -> Result<(), Fault> {
    let mut at = u32::from(args.get(0)?);
    let (width, height) = (u32::from(args.get(1)?), u32::from(args.option(2).unwrap_or(1)));
    let skip = u32::from(args.or_zero(3));
    if width * height.max(1) > RECTANGLE_MAX || height > RECTANGLE_MAX {
        return Err(Fault::Table);
    }
    let column = vm.column();
    for row in 0..height {
        if row != 0 {
            vm.next_row(column)?;
        }
        for _ in 0..width {
            let char = vm.byte(at)?;
            vm.print_zscii(char.into())?;
            at += 1;
        }
        at += skip;
    }
    Ok(())
}

/// Opens and closes streams. A transcript is the console's own, so stream 2 is only a flag.
pub(crate) fn output_stream(vm: &mut Vm, args: &Args) -> Result<(), Fault> {
    let number = args.get(0)?.cast_signed();
    let flags = vm.byte(0x11)?;
    match number {
        1 | -1 => {
            vm.flush_word();
            vm.screen.to_screen = number > 0;
        }
        2 => vm.set_byte(0x11, flags | 1)?,
        -2 => vm.set_byte(0x11, flags & !1)?,
        3 => {
            if vm.screen.tables.len() >= TABLES_MAX {
                return Err(Fault::Streams);
            }
            let table = args.get(1)?;
            vm.screen.tables.push((table, 0));
        }
        -3 => {
            if let Some((table, count)) = vm.screen.tables.pop() {
                vm.set_word(table.into(), count)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// There is one font; asking for it, or for what is in use, gives its number.
pub(crate) fn set_font(vm: &mut Vm, args: &Args) -> Result<(), Fault> {
    let known = matches!(args.get(0)?, 0 | 1);
    vm.store_result(known.into())
}

/// Whether a character can be printed, and typed.
pub(crate) fn check_unicode(vm: &mut Vm, args: &Args) -> Result<(), Fault> {
    let char = u32::from(args.get(0)?);
    let printed = u16::from(char::from_u32(char).is_some_and(|char| !char.is_control()));
    let typed = u16::from(vm.zscii_of(char).is_some());
    vm.store_result(printed | typed << 1)
}

/// Writes the row and column of the cursor.
pub(crate) fn get_cursor(vm: &mut Vm, args: &Args) -> Result<(), Fault> {
    vm.flush_word();
    let (row, column) = vm.cursor();
    let table = u32::from(args.get(0)?);
    vm.set_word(table, row)?;
    vm.set_word(table + 2, column)
}
