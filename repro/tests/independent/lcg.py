"""Numbers that Python and Rust make alike, to the last bit.

A 64-bit linear congruential generator (the constants of Knuth's MMIX), of which the upper bits are used. Sines of
indices would not do: NumPy's and Rust's differ in the last place.
"""


class Lcg:
    """Draws dyadic fractions: exact in float64 and, up to 24 bits, in float32."""

    def __init__(self, seed):
        self.state = seed

    def bits(self, count):
        """An integer in [0, 2**count)."""
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return self.state >> (64 - count)

    def signed(self, count):
        """A multiple of 2**(1 - count) in [-1, 1)."""
        return self.bits(count) / 2 ** (count - 1) - 1.0

    def signed_list(self, count, length):
        return [self.signed(count) for _ in range(length)]
