//! Why a program was ended that did what it may not.

use std::fmt;

/// A trap (the specification, section 4.2), or a limit of this machine that was met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trap {
    /// The instruction `unreachable`.
    Unreachable,
    /// A division of an integer by zero.
    DivideByZero,
    /// A quotient or a conversion that its type cannot hold.
    IntegerOverflow,
    /// A conversion of a NaN to an integer.
    InvalidConversion,
    /// An access beyond the end of a memory.
    Memory,
    /// An atomic access that is not aligned.
    Unaligned,
    /// A wait on a memory that is not shared.
    ExpectedShared,
    /// An access beyond the end of a table.
    Table,
    /// A call of an element beyond the end of its table.
    UndefinedElement,
    /// A call of an element that is null.
    UninitializedElement,
    /// A call of a function of another type.
    IndirectType,
    /// Something was done with a null reference.
    NullReference,
    /// A call of a null function reference.
    NullFunction,
    /// More calls, or more values in them, than there is room for.
    Stack,
    /// A function that is too large, once it is called.
    TooLarge,
    /// A null reference to a structure.
    NullStructure,
    /// A null reference to an array.
    NullArray,
    /// A null reference to an i31.
    NullI31,
    /// An access beyond the end of an array.
    Array,
    /// A cast to a type that the value does not have.
    Cast,
    /// More objects than there is room for.
    Heap,
    /// A null reference to an exception was thrown.
    NullException,
    /// An exception that nobody catches.
    Exception,
    /// More instructions than the option `fuel` allows.
    Fuel,
    /// A page of the memory could not be read by the host.
    Damage,
    /// A host function was given what it cannot take.
    Host,
}

impl fmt::Display for Trap {
    /// The words of the specification's suite, where it has some.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "unreachable",
            Self::DivideByZero => "integer divide by zero",
            Self::IntegerOverflow => "integer overflow",
            Self::InvalidConversion => "invalid conversion to integer",
            Self::Memory => "out of bounds memory access",
            Self::Unaligned => "unaligned atomic",
            Self::ExpectedShared => "expected shared memory",
            Self::Table => "out of bounds table access",
            Self::UndefinedElement => "undefined element",
            Self::UninitializedElement => "uninitialized element",
            Self::IndirectType => "indirect call type mismatch",
            Self::NullReference => "null reference",
            Self::NullFunction => "null function reference",
            Self::Stack => "call stack exhausted",
            Self::TooLarge => {
                "a function is too large to run here: it has more than 65,000 values at a time, \
                 4,000,000 instructions, 65,000 blocks within each other, or 16,000 of what \
                 catches exceptions"
            }
            Self::NullStructure => "null structure reference",
            Self::NullArray => "null array reference",
            Self::NullI31 => "null i31 reference",
            Self::Array => "out of bounds array access",
            Self::Cast => "cast failure",
            Self::Heap => "out of room for objects; --memory bounds them together with memories",
            Self::NullException => "null exception reference",
            Self::Exception => "unhandled exception",
            Self::Fuel => "all fuel is used up",
            Self::Damage => "a page of the memory cannot be read",
            Self::Host => "a host function was given what it cannot take",
        })
    }
}
