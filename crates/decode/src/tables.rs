//! The macros that declare operands, formats, tables and sets of tables.

/// Declares structs of operands, each an [`Operand`](crate::Operand) with a name.
#[macro_export]
macro_rules! operands {
    ($( $(#[$meta:meta])* $vis:vis struct $name:ident {
        $( $(#[$fmeta:meta])* $field:ident : $ty:ty ),* $(,)?
    } )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        $vis struct $name { $( $(#[$fmeta])* pub $field: $ty, )* }

        impl $crate::Operands for $name {
            fn show(&self, name: &str) -> Option<String> {
                $( if name == stringify!($field) {
                    return Some($crate::Operand::show(self.$field));
                } )*
                let _ = name;
                None
            }
        }
    )*};
}

/// Declares formats: for operands of one kind, where the bits of each are.
#[macro_export]
macro_rules! formats {
    ($( $(#[$meta:meta])* $format:ident for $operands:ident {
        $( $field:ident = $bits:expr ),* $(,)?
    } )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug)]
        pub enum $format {}

        impl $crate::Format for $format {
            type Operands = $operands;
            fn gather(word: u32) -> $operands {
                let _ = word;
                $operands { $( $field: $crate::Operand::of(
                    const { const BITS: $crate::Bits = $bits; &BITS }.gather(word)
                ) ),* }
            }
            fn scatter(operands: &$operands) -> u32 {
                let _ = operands;
                0 $( | const { const BITS: $crate::Bits = $bits; &BITS }
                    .scatter($crate::Operand::raw(operands.$field)) )*
            }
        }
    )*};
}

/// Declares a table: a row gives name, bits, format, text and meaning, and nothing else does.
///
/// Rows that meet do not compile, but for those in braces at the end: there the first wins, and
/// none may hide a later one, so the specific come before the general. The meaning is a function
/// of the context and the operands.
#[macro_export]
macro_rules! instructions {
    (
        $(#[$meta:meta])* $vis:vis enum $table:ident for $cx:ty {
            $( $(#[$doc:meta])* $name:ident =
                $pattern:literal, $format:ident, $text:literal => $meaning:path; )*
            $( { $( $(#[$odoc:meta])* $oname:ident =
                $opattern:literal, $oformat:ident, $otext:literal => $omeaning:path; )* } )?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        $vis enum $table {
            $( $(#[$doc])* $name(<$format as $crate::Format>::Operands), )*
            $( $( $(#[$odoc])* $oname(<$oformat as $crate::Format>::Operands), )* )?
        }

        impl $table {
            /// The rows, in the order of the table.
            pub const ROWS: &'static [$crate::Row] = &[
                $( $crate::Row {
                    name: stringify!($name),
                    pattern: $crate::Pattern::new($pattern),
                    text: $text,
                    ordered: false,
                }, )*
                $( $( $crate::Row {
                    name: stringify!($oname),
                    pattern: $crate::Pattern::new($opattern),
                    text: $otext,
                    ordered: true,
                }, )* )?
            ];

            const GATHER: &'static [fn(u32) -> Self] = &[
                $( |word| Self::$name(<$format as $crate::Format>::gather(word)), )*
                $( $( |word| Self::$oname(<$oformat as $crate::Format>::gather(word)), )* )?
            ];

            /// Decodes a word that fits the row of this number.
            #[must_use]
            pub fn of_row(row: usize, word: u32) -> Self {
                Self::GATHER[row](word)
            }

            /// Decodes a word, if it is in this table.
            #[must_use]
            pub fn decode(word: u32) -> Option<Self> {
                static TREE: std::sync::OnceLock<$crate::Tree> = std::sync::OnceLock::new();
                let tree = TREE.get_or_init(|| $crate::Tree::new($crate::Rows(&[Self::ROWS])));
                tree.find(word).map(|row| Self::of_row(usize::from(row), word))
            }

            /// Encodes the instruction.
            #[must_use]
            pub fn encode(self) -> u32 {
                match self {
                    $( Self::$name(operands) => {
                        const { $crate::Pattern::new($pattern) }.bits
                            | <$format as $crate::Format>::scatter(&operands)
                    } )*
                    $( $( Self::$oname(operands) => {
                        const { $crate::Pattern::new($opattern) }.bits
                            | <$oformat as $crate::Format>::scatter(&operands)
                    } )* )?
                }
            }

            /// The assembly text.
            #[must_use]
            pub fn text(self) -> String {
                match self {
                    $( Self::$name(operands) => $crate::render($text, &operands), )*
                    $( $( Self::$oname(operands) => $crate::render($otext, &operands), )* )?
                }
            }

            /// Calls the meaning of the row.
            pub fn apply(self, cx: &mut $cx) {
                match self {
                    $( Self::$name(operands) => $meaning(cx, operands), )*
                    $( $( Self::$oname(operands) => $omeaning(cx, operands), )* )?
                }
            }
        }

        const _: () = $crate::Rows(&[$table::ROWS]).assert_apart();
    };
}

/// Joins tables into one instruction set with one decoder. Rows of different tables never meet.
#[macro_export]
macro_rules! instruction_set {
    (
        $(#[$meta:meta])* $vis:vis enum $set:ident for $cx:ty {
            $( $(#[$doc:meta])* $name:ident($table:path), )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        $vis enum $set { $( $(#[$doc])* $name($table), )* }

        impl $set {
            /// The rows of every table.
            pub const ROWS: $crate::Rows = $crate::Rows(&[$( <$table>::ROWS ),*]);

            /// Decodes a word, if it is an instruction; with its size in bytes.
            #[must_use]
            pub fn decode(word: u32) -> Option<(Self, u8)> {
                type OfRow = fn(usize, u32) -> $set;
                struct Lookup { tree: $crate::Tree, rows: Vec<(OfRow, usize, u8)> }
                static LOOKUP: std::sync::OnceLock<Lookup> = std::sync::OnceLock::new();
                let lookup = LOOKUP.get_or_init(|| {
                    let mut rows: Vec<(OfRow, usize, u8)> = Vec::new();
                    $( rows.extend(<$table>::ROWS.iter().enumerate().map(|(number, row)| {
                        let of_row: OfRow = |row, word| $set::$name(<$table>::of_row(row, word));
                        (of_row, number, row.pattern.size)
                    })); )*
                    Lookup { tree: $crate::Tree::new(Self::ROWS), rows }
                });
                let found = usize::from(lookup.tree.find(word)?);
                let (of_row, row, size) = lookup.rows[found];
                Some((of_row(row, word), size))
            }

            /// Encodes the instruction.
            #[must_use]
            pub fn encode(self) -> u32 {
                match self { $( Self::$name(insn) => insn.encode(), )* }
            }

            /// The assembly text.
            #[must_use]
            pub fn text(self) -> String {
                match self { $( Self::$name(insn) => insn.text(), )* }
            }

            /// Calls the meaning.
            pub fn apply(self, cx: &mut $cx) {
                match self { $( Self::$name(insn) => insn.apply(cx), )* }
            }
        }

        const _: () = $set::ROWS.assert_apart();
    };
}
