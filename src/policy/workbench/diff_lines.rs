//! Two texts, line by line.

/// Lines kept around what changed.
const AROUND: usize = 2;
/// Pairs of lines that are compared: beyond it all of the one is shown and then all of the other.
const PAIRS_MAX: usize = 1 << 20;
/// Lines that are shown of one policy.
const SHOWN_MAX: usize = 200;

/// The lines of both, as `diff -u` writes them: `-` is in the first alone, `+` in the second alone. Unchanged lines are
/// left out but for some around a change.
pub(super) fn unified(old: &str, new: &str) -> Vec<String> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let mut marked = mark(&old, &new);
    let near = |at: usize| {
        let window = marked.get(at.saturating_sub(AROUND)..marked.len().min(at + AROUND + 1));
        window.unwrap_or_default().iter().any(|(mark, _)| *mark != ' ')
    };
    let kept: Vec<bool> = (0..marked.len()).map(near).collect();
    let mut lines = Vec::new();
    let mut is_gap = false;
    for ((mark, line), kept) in marked.drain(..).zip(kept) {
        if kept {
            lines.push(format!("{mark} {line}").trim_end().to_owned());
        } else if !is_gap {
            lines.push("  …".to_owned());
        }
        is_gap = !kept;
    }
    if lines.len() > SHOWN_MAX {
        let more = lines.len() - SHOWN_MAX;
        lines.truncate(SHOWN_MAX);
        lines.push(format!("  … and {more} lines more"));
    }
    lines
}

/// Each line with its mark, by the longest common subsequence.
fn mark<'t>(old: &[&'t str], new: &[&'t str]) -> Vec<(char, &'t str)> {
    if old.len().saturating_mul(new.len()) > PAIRS_MAX {
        return old.iter().map(|line| ('-', *line)).chain(new.iter().map(|line| ('+', *line))).collect();
    }
    // lengths[i][j]: how many lines the rests from i and j have in common.
    let mut lengths = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    let at = |lengths: &[Vec<usize>], i: usize, j: usize| {
        lengths.get(i).and_then(|row| row.get(j)).copied().unwrap_or_default()
    };
    for (i, line) in old.iter().enumerate().rev() {
        for (j, other) in new.iter().enumerate().rev() {
            let length = if line == other {
                at(&lengths, i + 1, j + 1) + 1
            } else {
                at(&lengths, i + 1, j).max(at(&lengths, i, j + 1))
            };
            if let Some(cell) = lengths.get_mut(i).and_then(|row| row.get_mut(j)) {
                *cell = length;
            }
        }
    }
    let (mut i, mut j, mut marked) = (0, 0, Vec::new());
    loop {
        match (old.get(i), new.get(j)) {
            (Some(line), Some(other)) if line == other => {
                marked.push((' ', *line));
                (i, j) = (i + 1, j + 1);
            }
            (Some(line), other) if other.is_none() || at(&lengths, i + 1, j) >= at(&lengths, i, j + 1) => {
                marked.push(('-', *line));
                i += 1;
            }
            (_, Some(other)) => {
                marked.push(('+', *other));
                j += 1;
            }
            // The first arm that has a line takes it.
            _ => return marked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::unified;

    #[test]
    fn lines_are_told_apart() {
        assert_eq!(unified("a\nb\nc", "a\nx\nc"), ["  a", "- b", "+ x", "  c"]);
        assert_eq!(unified("", "a"), ["+ a"]);
        assert_eq!(unified("a", ""), ["- a"]);
        assert_eq!(unified("1\n2\n3\n4\n5", "1\n2\n3\n4\n6"), ["  …", "  3", "  4", "- 5", "+ 6"]);
        assert_eq!(unified("a\nb", "b\na").len(), 3);
        let long = "x\n".repeat(2_000);
        assert_eq!(unified(&long, &long.replace('x', "y")).len(), 201);
    }
}
