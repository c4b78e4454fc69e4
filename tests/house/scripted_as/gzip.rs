//! Just enough gzip to be a nuisance: two stored blocks around one run of equal bytes, which takes
//! 13 bits for every 258 of them.

/// Gzip that inflates to `before`, `run` times the letter `a`, and `after`.
pub(super) fn inflating_to(before: &[u8], run: usize, after: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    stored(&mut out, before, false);
    if run > 0 {
        repeated(&mut out, run);
    }
    stored(&mut out, after, true);
    let sum = [before, after].map(<[u8]>::len).iter().sum::<usize>() + run;
    let bytes = before.iter().chain(std::iter::repeat_n(&b'a', run)).chain(after);
    out.extend_from_slice(&crc32(bytes).to_le_bytes());
    out.extend_from_slice(&u32::try_from(sum % (1 << 32)).unwrap().to_le_bytes());
    out
}

fn stored(out: &mut Vec<u8>, bytes: &[u8], last: bool) {
    let length = u16::try_from(bytes.len()).expect("a stored block is short");
    out.push(u8::from(last));
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&(!length).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// One block with the fixed codes, and an empty stored block to get back to a byte boundary.
fn repeated(out: &mut Vec<u8>, run: usize) {
    let mut bits = Bits { out, held: 0, count: 0 };
    bits.push(0b010, 3); // not the last; fixed codes
    let literal = 0x30 + u32::from(b'a');
    // At least one literal, and as many as the matches of 258 leave over.
    for _ in 0..=(run - 1) % 258 {
        bits.push_code(literal, 8);
    }
    for _ in 0..(run - 1) / 258 {
        bits.push_code(0b1100_0101, 8); // length code 285: 258 bytes
        bits.push_code(0, 5); // distance 1
    }
    bits.push_code(0, 7); // end of block
    bits.push(0, 3); // a stored block, not the last
    bits.align();
    out.extend_from_slice(&[0, 0, 0xff, 0xff]);
}

struct Bits<'a> {
    out: &'a mut Vec<u8>,
    held: u32,
    count: u32,
}

impl Bits<'_> {
    fn push(&mut self, value: u32, width: u32) {
        self.held |= value << self.count;
        self.count += width;
        while self.count >= 8 {
            self.out.push(self.held.to_le_bytes()[0]);
            self.held >>= 8;
            self.count -= 8;
        }
    }

    /// Codes go most significant bit first.
    fn push_code(&mut self, code: u32, width: u32) {
        self.push(code.reverse_bits() >> (32 - width), width);
    }

    fn align(&mut self) {
        if self.count > 0 {
            self.push(0, 8 - self.count);
        }
    }
}

fn crc32<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    let table: Vec<u32> =
        (0..256_u32).map(|start| (0..8).fold(start, |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1)))).collect();
    !bytes.fold(u32::MAX, |crc, byte| (crc >> 8) ^ table[usize::from(crc.to_le_bytes()[0] ^ byte)])
}
