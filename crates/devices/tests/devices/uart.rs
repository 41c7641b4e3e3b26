//! The 16550A at its registers.

use crate::guest::{Guest, PORT, carry_over};
use omni_devices::{TimeBase, UART_BACKLOG_MAX, Uart16550};
use omni_machine::Device;

const RTS: u8 = 2;

fn uart() -> Uart16550 {
    Uart16550::new("uart0", PORT, TimeBase::new(1))
}

/// A UART as an operating system uses it: FIFOs on, trigger at eight, receiver interrupt on.
fn started(guest: &mut Guest) -> Uart16550 {
    let mut uart = uart();
    guest.write8(&mut uart, 2, 0x81);
    guest.write8(&mut uart, 4, 0x0b);
    guest.write8(&mut uart, 1, 1);
    uart
}

/// Reads while the line status says that there is something.
fn drain(uart: &mut Uart16550, guest: &mut Guest) -> Vec<u8> {
    let mut bytes = Vec::new();
    while guest.read8(uart, 5) & 1 != 0 {
        bytes.push(guest.read8(uart, 0));
    }
    bytes
}

#[test]
fn what_is_written_leaves_in_order() {
    let (mut guest, mut uart) = (Guest::new(), uart());
    b"omni\n".iter().for_each(|&byte| guest.write8(&mut uart, 0, byte));
    assert_eq!(guest.take_output(), b"omni\n");
}

#[test]
fn the_divisor_hides_behind_dlab() {
    let (mut guest, mut uart) = (Guest::new(), uart());
    guest.write8(&mut uart, 3, 0x83);
    guest.write8(&mut uart, 0, 0x34);
    guest.write8(&mut uart, 1, 0x12);
    assert_eq!((guest.read8(&mut uart, 0), guest.read8(&mut uart, 1)), (0x34, 0x12));
    guest.write8(&mut uart, 3, 0x03);
    assert_eq!((guest.read8(&mut uart, 0), guest.read8(&mut uart, 1)), (0, 0));
    assert_eq!(guest.take_output(), b"");
    guest.write8(&mut uart, 7, 0xa5);
    assert_eq!(guest.read8(&mut uart, 7), 0xa5);
}

#[test]
fn an_empty_transmitter_interrupts_once_for_each_cause() {
    let (mut guest, mut uart) = (Guest::new(), uart());
    guest.write8(&mut uart, 1, 2);
    assert!(guest.line());
    assert_eq!(guest.read8(&mut uart, 2), 0x02);
    assert!(!guest.line(), "reading the identification clears it");
    assert_eq!(guest.read8(&mut uart, 2), 0x01);
    guest.write8(&mut uart, 0, b'x');
    assert!(guest.line(), "the byte left at once");
    guest.write8(&mut uart, 1, 0);
    assert!(!guest.line());
}

#[test]
fn the_receiver_interrupts_at_its_trigger_or_after_four_characters_time() {
    let mut guest = Guest::new();
    let mut uart = started(&mut guest);
    guest.input(&mut uart, b"1234567");
    assert!(!guest.line());
    let late = uart.deadline().expect("a timeout runs");
    assert!((340_000..350_000).contains(&late.0), "four characters at 115200 baud: {late:?}");
    guest.input(&mut uart, b"8");
    assert!(guest.line());
    assert_eq!(guest.read8(&mut uart, 2), 0xc4);
    assert_eq!(guest.read8(&mut uart, 0), b'1');
    assert!(!guest.line(), "below the trigger again");
    assert!(guest.wait(&mut uart));
    assert!(guest.line());
    assert_eq!(guest.read8(&mut uart, 2), 0xcc);
    assert_eq!(drain(&mut uart, &mut guest), b"2345678");
    assert!(!guest.line());
    assert_eq!(uart.deadline(), None);
}

#[test]
fn a_script_of_many_kilobytes_arrives_whole() {
    let mut guest = Guest::new();
    let mut uart = started(&mut guest);
    let script: Vec<u8> = (0..20_000u32).map(|at| at.to_le_bytes()[0]).collect();
    guest.input(&mut uart, &script);
    assert_eq!(drain(&mut uart, &mut guest), script);
}

#[test]
fn the_wire_holds_so_much_and_drops_the_rest() {
    let mut guest = Guest::new();
    let mut uart = uart();
    guest.input(&mut uart, &vec![1; 2 * UART_BACKLOG_MAX]);
    guest.input(&mut uart, &[2; 100]);
    guest.write8(&mut uart, 4, RTS);
    assert_eq!(drain(&mut uart, &mut guest), vec![1; UART_BACKLOG_MAX]);
}

#[test]
fn input_before_the_guest_is_ready_survives_its_probing() {
    let (mut guest, mut uart) = (Guest::new(), uart());
    guest.input(&mut uart, b"uname -m\npoweroff -f\n");
    // An operating system probes: interrupts on and off, FIFOs off, on and cleared, loopback.
    guest.write8(&mut uart, 1, 0x0f);
    assert_eq!(guest.read8(&mut uart, 1), 0x0f);
    guest.write8(&mut uart, 1, 0);
    guest.write8(&mut uart, 4, 0x1a);
    assert_eq!(guest.read8(&mut uart, 6) & 0xf0, 0x90);
    guest.write8(&mut uart, 4, 0);
    for fcr in [1, 7, 0, 1, 7, 0x81] {
        guest.write8(&mut uart, 2, fcr);
    }
    for register in [5, 0, 2, 6] {
        guest.read8(&mut uart, register);
    }
    guest.write8(&mut uart, 4, 0x0b);
    assert_eq!(drain(&mut uart, &mut guest), b"uname -m\npoweroff -f\n");
}

#[test]
fn a_guest_that_only_polls_gets_its_input() {
    let (mut guest, mut uart) = (Guest::new(), uart());
    guest.input(&mut uart, b"hi");
    let mut got = Vec::new();
    for _ in 0..100 {
        if guest.read8(&mut uart, 5) & 1 != 0 {
            got.push(guest.read8(&mut uart, 0));
        }
    }
    assert_eq!(got, b"hi");
}

#[test]
fn loopback_keeps_bytes_inside_and_overruns_when_full() {
    let mut guest = Guest::new();
    let mut uart = started(&mut guest);
    guest.write8(&mut uart, 1, 5);
    guest.write8(&mut uart, 4, 0x10);
    (0..17).for_each(|byte| guest.write8(&mut uart, 0, byte));
    assert_eq!(guest.take_output(), b"");
    assert_eq!(guest.read8(&mut uart, 2), 0xc6, "the line status is most urgent");
    assert_eq!(guest.read8(&mut uart, 5), 0x63);
    assert_eq!(guest.read8(&mut uart, 5), 0x61, "errors are told once");
    assert_eq!(drain(&mut uart, &mut guest), (0..16).collect::<Vec<u8>>());
}

#[test]
fn what_a_fifo_reset_gives_back_fits_on_the_wire() {
    let mut guest = Guest::new();
    let mut uart = started(&mut guest);
    guest.input(&mut uart, &vec![7; UART_BACKLOG_MAX]);
    guest.input(&mut uart, &[8; 16]);
    guest.write8(&mut uart, 1, 0);
    guest.write8(&mut uart, 4, 0);
    guest.write8(&mut uart, 2, 3);
    assert_eq!(uart.state().backlog, vec![7; UART_BACKLOG_MAX]);
    carry_over(&uart, &mut self::uart());
}

#[test]
fn looped_bytes_never_become_input() {
    let (mut guest, mut uart) = (Guest::new(), uart());
    guest.input(&mut uart, &vec![7; UART_BACKLOG_MAX]);
    for _ in 0..10 {
        guest.write8(&mut uart, 4, 0x10);
        guest.write8(&mut uart, 2, 1);
        (0..16).for_each(|byte| guest.write8(&mut uart, 0, byte));
        guest.write8(&mut uart, 4, 0);
        guest.write8(&mut uart, 2, 3);
    }
    assert_eq!(uart.state().backlog, vec![7; UART_BACKLOG_MAX]);
    guest.write8(&mut uart, 4, RTS);
    assert_eq!(drain(&mut uart, &mut guest), vec![7; UART_BACKLOG_MAX]);
}

#[test]
fn modem_lines_tell_their_changes() {
    let (mut guest, mut uart) = (Guest::new(), uart());
    assert_eq!(guest.read8(&mut uart, 6), 0xb0);
    guest.write8(&mut uart, 1, 8);
    guest.write8(&mut uart, 4, 0x10);
    assert!(guest.line());
    assert_eq!(guest.read8(&mut uart, 2), 0x00);
    assert_eq!(guest.read8(&mut uart, 6), 0x0b);
    assert!(!guest.line());
}

#[test]
fn without_fifos_the_receiver_holds_one_byte() {
    let (mut guest, mut uart) = (Guest::new(), uart());
    guest.write8(&mut uart, 1, 1);
    guest.input(&mut uart, b"ab");
    assert!(guest.line());
    assert_eq!(guest.read8(&mut uart, 2), 0x04);
    assert_eq!(drain(&mut uart, &mut guest), b"ab");
    assert!(!guest.line());
}

#[test]
fn a_uart_saved_in_the_middle_goes_on_as_if_nothing_was() {
    let mut guest = Guest::new();
    let mut first = started(&mut guest);
    guest.input(&mut first, &[b'z'; 40]);
    guest.read8(&mut first, 0);
    guest.write8(&mut first, 0, b'!');
    let mut second = uart();
    carry_over(&first, &mut second);
    assert_eq!(drain(&mut second, &mut guest), [b'z'; 39]);
    second.reset();
    carry_over(&uart(), &mut second);
}
