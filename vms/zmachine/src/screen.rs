//! Windows, cursors and the rows of a screen, shown as a printing terminal can.
//!
//! A screen of cells is kept, and before each input the rows that changed are printed: the way
//! of `dfrotz`, whose transcripts are the measure. Text in reverse and fixed style, which is
//! what status lines are in, is printed as nothing, as there. In `Mode::Stream` no cells are
//! kept, and only the lower window is printed, at once.

use crate::fault::Fault;
use crate::machine::{Mode, Vm};
use crate::output::STYLE_SHIFT;

/// The bit of a cell that changed since the screen was shown.
const CHANGED: u32 = 1 << 31;

/// Reverse and fixed: the style that is not shown.
const HIDDEN: u32 = 9;

const BLANK: u32 = 32;
const STATUS: usize = 2;

impl Vm {
    fn lower_top(&self) -> u32 {
        self.status_rows() + self.screen.upper_rows
    }

    fn status_rows(&self) -> u32 {
        u32::from(self.story.version <= 3)
    }

    fn at(&mut self) -> &mut (u32, u32) {
        let window = usize::from(self.screen.window).min(STATUS);
        &mut self.screen.cursors[window]
    }

    /// The column of the present window's cursor.
    pub(crate) fn column(&mut self) -> u32 {
        self.flush_word();
        self.at().1
    }

    /// The cursor within its window, counted from one.
    pub(crate) fn cursor(&mut self) -> (u16, u16) {
        let top = if self.screen.window == 0 { self.lower_top() } else { self.status_rows() };
        let (row, column) = *self.at();
        let word = |value| u16::try_from(value).unwrap_or(u16::MAX);
        (word((row + 1).saturating_sub(top)), word(column + 1))
    }

    /// Goes to the next row of a rectangle.
    pub(crate) fn next_row(&mut self, column: u32) -> Result<(), Fault> {
        self.flush_word();
        if self.screen.window == 0 {
            self.screen_new_line();
        } else {
            let last = self.screen.rows - 1;
            let at = self.at();
            at.0 = (at.0 + 1).min(last);
        }
        self.at().1 = column;
        Ok(())
    }

    /// The screen of a story that starts.
    pub(crate) fn restart_screen(&mut self) {
        let columns = self.screen.columns as usize;
        let cells = if self.mode == Mode::Dumb { self.screen.rows as usize * columns } else { 0 };
        self.screen.cells.resize(cells, BLANK);
        self.screen.style = 0;
        self.screen.buffered = true;
        self.screen.to_screen = true;
        self.screen.tables.clear();
        self.erase_all();
    }

    fn erase_all(&mut self) {
        self.flush_word();
        self.screen.upper_rows = 0;
        self.screen.window = 0;
        self.erase_rows(0, self.screen.rows);
        self.screen.cursors[1] = (self.status_rows(), 0);
        self.reset_lower();
        self.screen.lines = 0;
    }

    fn reset_lower(&mut self) {
        // Until version 4 the story starts at the bottom, and scrolls up from there.
        let early = self.story.version <= 4;
        let row = if early { self.screen.rows - 1 } else { self.lower_top() };
        self.screen.cursors[0] = (row.min(self.screen.rows - 1), 0);
    }

    /// Divides the screen.
    pub(crate) fn split_window(&mut self, rows: u16) -> Result<(), Fault> {
        self.flush_word();
        let top = self.status_rows();
        self.screen.upper_rows = u32::from(rows).min(self.screen.rows - 1 - top);
        if self.screen.cursors[1].0 >= self.lower_top() {
            self.screen.cursors[1] = (top, 0);
        }
        if self.screen.cursors[0].0 < self.lower_top() {
            self.reset_lower();
        }
        if self.story.version == 3 && rows != 0 {
            self.erase_rows(top, self.lower_top());
        }
        Ok(())
    }

    /// Goes to a window.
    pub(crate) fn set_window(&mut self, window: u16) -> Result<(), Fault> {
        self.flush_word();
        self.screen.window = match window {
            0 => 0,
            1 => 1,
            _ => return Err(Fault::Window(window)),
        };
        if window == 1 {
            self.screen.cursors[1] = (self.status_rows(), 0);
        }
        Ok(())
    }

    /// Erases a window; -1 also undoes the division, -2 leaves it.
    pub(crate) fn erase_window(&mut self, window: i16) -> Result<(), Fault> {
        self.flush_word();
        let (status, lower) = (self.status_rows(), self.lower_top());
        match window {
            -1 => self.erase_all(),
            -2 => self.erase_rows(0, self.screen.rows),
            0 => {
                self.erase_rows(lower, self.screen.rows);
                self.reset_lower();
                self.screen.lines = 0;
            }
            1 => {
                self.erase_rows(status, lower);
                self.screen.cursors[1] = (status, 0);
            }
            _ => {}
        }
        Ok(())
    }

    /// Erases from the cursor to the end of its line.
    pub(crate) fn erase_line(&mut self, value: u16) -> Result<(), Fault> {
        self.flush_word();
        if value == 1 {
            let (row, column) = *self.at();
            for column in column..self.screen.columns {
                self.set_cell(row, column, BLANK);
            }
        }
        Ok(())
    }

    /// Moves the cursor of the upper window; rows and columns count from one.
    pub(crate) fn set_cursor(&mut self, row: u16, column: u16) -> Result<(), Fault> {
        self.flush_word();
        if self.screen.window == 1 && row.cast_signed() > 0 {
            let row = self.status_rows() + u32::from(row) - 1;
            let column = u32::from(column.max(1)) - 1;
            let (last, edge) = (self.screen.rows - 1, self.screen.columns - 1);
            self.screen.cursors[1] = (row.min(last), column.min(edge));
        }
        Ok(())
    }

    fn erase_rows(&mut self, from: u32, to: u32) {
        for row in from..to {
            for column in 0..self.screen.columns {
                self.set_cell(row, column, BLANK);
            }
        }
    }

    fn set_cell(&mut self, row: u32, column: u32, cell: u32) {
        if column >= self.screen.columns {
            return;
        }
        let index = row as usize * self.screen.columns as usize + column as usize;
        if let Some(slot) = self.screen.cells.get_mut(index) {
            let changed = if *slot & !CHANGED == cell { 0 } else { CHANGED };
            *slot = cell | changed;
        }
    }

    /// Goes to the next line of the window; at its end the lower window scrolls.
    pub(crate) fn screen_new_line(&mut self) {
        if self.screen.window != 0 {
            let end = self.lower_top();
            let top = self.status_rows();
            let at = self.at();
            *at = (if at.0 + 1 < end { at.0 + 1 } else { top }, 0);
            return;
        }
        self.screen.cursors[0].1 = 0;
        if self.mode == Mode::Stream {
            self.end_line();
            return;
        }
        if self.screen.cursors[0].0 + 1 < self.screen.rows {
            self.screen.cursors[0].0 += 1;
        } else {
            self.scroll();
        }
        // Where others ask for a key before text runs off, all that changed is shown.
        self.screen.lines += 1;
        if self.screen.lines + 1 >= self.screen.rows - self.lower_top() {
            self.show_screen(false);
            self.end_line();
            self.screen.lines = 0;
        }
    }

    fn scroll(&mut self) {
        let columns = self.screen.columns as usize;
        let top = self.lower_top() as usize * columns;
        let end = self.screen.cells.len();
        if top + columns > end {
            return;
        }
        self.screen.cells.copy_within(top + columns..end, top);
        let last = self.screen.rows - 1;
        self.erase_rows(last, last + 1);
    }

    /// Puts a word on the screen, on a new line if it does not fit on this one.
    pub(crate) fn screen_word(&mut self, word: &[u32]) {
        let columns = self.screen.columns;
        let left = columns.saturating_sub(self.at().1);
        let mut word = word;
        if self.screen.window != 0 {
            // The upper window does not wrap: what does not fit is lost.
            word = &word[..word.len().min(left as usize)];
        } else if (left as usize) < word.len() {
            if word[0] & 0xffff == BLANK {
                word = &word[1..];
            }
            self.screen_new_line();
        }
        for &cell in word {
            if self.screen.window == 0 && self.screen.cursors[0].1 >= columns {
                self.screen_new_line();
            }
            let (row, column) = *self.at();
            match self.mode {
                Mode::Dumb => self.set_cell(row, column, cell),
                Mode::Stream if self.screen.window == 0 => self.out_char(cell & 0xffff),
                Mode::Stream => {}
            }
            self.at().1 = column + 1;
        }
    }

    /// Makes the status line of the early versions (the Standard, section 8.2).
    pub(crate) fn show_status(&mut self) -> Result<(), Fault> {
        if self.mode == Mode::Stream {
            return Ok(());
        }
        self.flush_word();
        let global = |vm: &Self, at: u32| vm.word(vm.story.globals + 2 * at);
        let (place, first, second) = (global(self, 0)?, global(self, 1)?, global(self, 2)?);
        let mut name = vec![u16::from(b' ')];
        if place != 0
            && let Some(at) = self.name_at(place)?
        {
            self.text_at(at, &mut name)?;
        }
        let timed = self.story.version == 3 && self.byte(1)? & 2 != 0;
        let brief = self.screen.columns < 55;
        let mut parts = Vec::new();
        if timed {
            let (hour, half) = ((first.wrapping_add(11)) % 12 + 1, first >= 12);
            let half = if half { "pm" } else { "am" };
            let text = format!("Time: {hour:>2}:{second:02} {half}");
            parts.push((if brief { 15 } else { 20 }, text));
        } else {
            let (score, moves) = if brief { ("S:", "M:") } else { ("Score:", "Moves:") };
            let score = format!("{score} {}", first.cast_signed());
            let moves = format!("{moves} {}", second.cast_signed());
            parts.push((if brief { 15 } else { 30 }, score));
            parts.push((if brief { 8 } else { 14 }, moves));
        }
        let columns = self.screen.columns;
        let mut line: Vec<u32> = Vec::new();
        line.extend(name.iter().map(|c| u32::from(self.unicode_of(*c).unwrap_or(b'?'.into()))));
        for (from_end, text) in parts {
            let at = columns.saturating_sub(from_end) as usize;
            line.resize(line.len().max(at), BLANK);
            line.extend(text.chars().map(u32::from));
        }
        line.resize(columns as usize, BLANK);
        for (column, char) in (0..columns).zip(line) {
            self.set_cell(0, column, char | HIDDEN << STYLE_SHIFT);
        }
        Ok(())
    }

    /// Shows what changed and, for an input, the row of the cursor as its prompt.
    pub(crate) fn show_for_input(&mut self) {
        self.flush_word();
        self.screen.lines = 0;
        if self.mode == Mode::Stream {
            return;
        }
        self.show_screen(true);
        let (row, column) = *self.at();
        let cells: Vec<u32> = self.row(row).iter().take(column as usize).copied().collect();
        cells.into_iter().for_each(|cell| self.show_cell(cell));
    }

    /// Whether something changed that `show_for_input` would show.
    pub(crate) fn has_changes(&self) -> bool {
        self.screen.cells.iter().any(|cell| shows_change(*cell)) || !self.screen.word.is_empty()
    }

    /// Shows what is left to be shown, at the end.
    pub(crate) fn close_screen(&mut self) {
        self.flush_word();
        if self.mode == Mode::Dumb {
            self.show_screen(false);
        }
    }

    fn row(&self, row: u32) -> &[u32] {
        let columns = self.screen.columns as usize;
        let start = row as usize * columns;
        self.screen.cells.get(start..start + columns).unwrap_or(&[])
    }

    /// Prints the rows that changed, with one empty line for each gap between them.
    fn show_screen(&mut self, with_cursor: bool) {
        let rows = self.screen.rows;
        let changed: Vec<bool> =
            (0..=rows).map(|row| self.row(row).iter().any(|cell| shows_change(*cell))).collect();
        let is_changed = |row: u32| changed.get(row as usize).copied().unwrap_or(false);
        let Some(first) = (0..rows).find(|row| is_changed(*row)) else { return };
        let mut end = 1 + (0..rows).rfind(|row| is_changed(*row)).unwrap_or(first);
        let (cursor, column) = *self.at();
        // The row of the prompt is printed as the prompt alone.
        let rest = self.row(cursor).iter().skip(column as usize);
        let ends_there = rest.clone().all(|cell| cell & 0xffff == BLANK);
        if with_cursor && cursor + 1 == end && ends_there {
            end -= 1;
        }
        let mut row = first;
        while row < end {
            if is_changed(row) || is_changed(row + 1) {
                self.show_row(row);
            } else {
                while row + 1 < rows && !is_changed(row + 1) {
                    row += 1;
                }
                self.end_line();
            }
            row += 1;
        }
        if with_cursor && cursor > end {
            if cursor == end + 1 { self.show_row(end) } else { self.end_line() }
        }
        self.screen.cells.iter_mut().for_each(|cell| *cell &= !CHANGED);
    }

    fn show_row(&mut self, row: u32) {
        let cells = self.row(row);
        let used = cells.iter().rposition(|cell| cell & 0xffff != BLANK).map_or(0, |at| at + 1);
        let cells = cells[..used].to_vec();
        cells.into_iter().for_each(|cell| self.show_cell(cell));
        self.end_line();
    }

    fn show_cell(&mut self, cell: u32) {
        if cell >> STYLE_SHIFT & HIDDEN != HIDDEN {
            self.out_char(cell & 0xffff);
        }
    }

    /// Writes a character to the console.
    pub(crate) fn out_char(&mut self, unicode: u32) {
        let char = char::from_u32(unicode).unwrap_or('?');
        self.out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
    }

    /// Ends a line of the console, as a terminal in raw mode needs it where we echo.
    pub(crate) fn end_line(&mut self) {
        self.out.extend_from_slice(if self.echo { b"\r\n" } else { b"\n" });
    }

    /// Puts what was typed on the screen, where it is no change: its player has seen it.
    pub(crate) fn show_typed(&mut self, line: &[u8]) {
        for &char in line {
            let unicode = self.unicode_of(char.into()).unwrap_or(b'?'.into());
            let (row, column) = *self.at();
            let index = row as usize * self.screen.columns as usize + column as usize;
            if column < self.screen.columns
                && let Some(slot) = self.screen.cells.get_mut(index)
            {
                *slot = u32::from(unicode);
            }
            let edge = self.screen.columns;
            let at = self.at();
            at.1 = (at.1 + 1).min(edge);
        }
    }

    /// The console has another width: text wraps there from here on. A screen of cells stays.
    pub(crate) fn resize(&mut self, columns: u16) -> Result<(), Fault> {
        if self.mode == Mode::Stream {
            self.screen.columns = u32::from(columns).clamp(20, 255);
            self.describe_interpreter()?;
        }
        Ok(())
    }
}

fn shows_change(cell: u32) -> bool {
    cell & CHANGED != 0 && cell & 0xffff != BLANK
}
