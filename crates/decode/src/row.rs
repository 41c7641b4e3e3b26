//! Rows of tables and the traits of their operands.

use crate::Pattern;

/// One row of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// The name of the variant.
    pub name: &'static str,
    /// The fixed bits.
    pub pattern: Pattern,
    /// The assembly text, operands in braces.
    pub text: &'static str,
    /// Whether it is in the part of the table where order decides.
    pub ordered: bool,
}

/// The rows of one table or more, checked at compile time.
#[derive(Clone, Copy, Debug)]
pub struct Rows(pub &'static [&'static [Row]]);

impl Rows {
    /// Asserts that no two rows meet, but for ordered ones of one table, where the first wins but
    /// does not hide the second.
    ///
    /// # Panics
    /// Where rows meet.
    pub const fn assert_apart(self) {
        let mut one = 0;
        while one < self.0.len() {
            let mut two = one;
            while two < self.0.len() {
                assert_tables_apart(self.0[one], self.0[two], one == two);
                two += 1;
            }
            one += 1;
        }
    }

    /// Every row in order.
    pub fn iter(self) -> impl Iterator<Item = &'static Row> {
        self.0.iter().flat_map(|table| table.iter())
    }
}

const fn assert_tables_apart(left: &[Row], right: &[Row], same: bool) {
    let mut one = 0;
    while one < left.len() {
        let mut two = if same { one + 1 } else { 0 };
        while two < right.len() {
            let (a, b) = (&left[one], &right[two]);
            if a.pattern.meets(b.pattern) {
                let ordered = same && a.ordered && b.ordered;
                assert!(ordered, "two rows of the table meet");
                assert!(!a.pattern.covers(b.pattern), "a row hides one that comes later");
            }
            two += 1;
        }
        one += 1;
    }
}

/// One operand of an instruction: a register, an immediate.
pub trait Operand: Copy {
    /// From the bits of the word; an immediate is sign-extended where its format says so.
    fn of(bits: u32) -> Self;
    /// Back to bits.
    fn raw(self) -> u32;
    /// In assembly text.
    fn show(self) -> String;
}

/// The operands of a row, by name.
pub trait Operands: Copy {
    /// The text of the operand of this name, if there is one.
    fn show(&self, name: &str) -> Option<String>;
}

/// Where operands are in a word: a gather and scatter pair.
pub trait Format {
    /// What is gathered.
    type Operands: Operands;
    /// The operands in a word.
    fn gather(word: u32) -> Self::Operands;
    /// The word's bits that the operands give.
    fn scatter(operands: &Self::Operands) -> u32;
}

/// Puts operands into a template. A name that the operands do not have stays in its braces.
#[must_use]
pub fn render(template: &str, operands: &impl Operands) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let Some((name, tail)) = after.split_once('}') else { break };
        text.push_str(&operands.show(name).unwrap_or_else(|| format!("{{{name}}}")));
        rest = tail;
    }
    text.push_str(rest);
    text
}
