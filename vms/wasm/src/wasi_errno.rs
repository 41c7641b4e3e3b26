//! Error numbers of preview 1, and which of them those of the host are.

pub(crate) const BADF: u16 = 8;
pub(crate) const EXIST: u16 = 20;
pub(crate) const FAULT: u16 = 21;
pub(crate) const ILSEQ: u16 = 25;
pub(crate) const INVAL: u16 = 28;
pub(crate) const IO: u16 = 29;
pub(crate) const ISDIR: u16 = 31;
pub(crate) const LOOP: u16 = 32;
pub(crate) const MFILE: u16 = 33;
pub(crate) const NAMETOOLONG: u16 = 37;
pub(crate) const NOENT: u16 = 44;
pub(crate) const NOTDIR: u16 = 54;
pub(crate) const NOTSOCK: u16 = 57;
pub(crate) const NOTSUP: u16 = 58;
pub(crate) const OVERFLOW: u16 = 61;
pub(crate) const PERM: u16 = 63;
pub(crate) const ROFS: u16 = 69;
pub(crate) const SPIPE: u16 = 70;
pub(crate) const AGAIN: u16 = 6;

/// Error numbers of Linux, and those of preview 1.
const HOST: &[(u16, u16)] = &[
    (1, PERM),
    (2, NOENT),
    (4, 27),
    (5, IO),
    (9, BADF),
    (11, AGAIN),
    (12, 48),
    (13, 2),
    (16, 10),
    (17, EXIST),
    (18, 75),
    (20, NOTDIR),
    (21, ISDIR),
    (22, INVAL),
    (23, 41),
    (24, MFILE),
    (26, 74),
    (27, 22),
    (28, 51),
    (29, SPIPE),
    (30, ROFS),
    (31, 34),
    (32, 64),
    (34, 68),
    (36, NAMETOOLONG),
    (39, 55),
    (40, LOOP),
    (75, OVERFLOW),
    (84, ILSEQ),
    (95, NOTSUP),
    (122, 19),
];

/// The error number for one of the host's.
pub(crate) fn of_host(code: u16) -> u16 {
    HOST.iter().find(|(own, _)| *own == code).map_or(IO, |(_, errno)| *errno)
}
