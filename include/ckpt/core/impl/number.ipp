// ckpt/core/impl/number.ipp: the definitions of number.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/number.hpp>

#include <bit>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// A natural number in base 2^32. The largest ones are those of parse_double: 770 digits and 5^1,093 have 2,558 bits at
/// most, and division needs one limb more.
class natural {
  public:
    explicit natural(std::uint64_t value) noexcept
        : limbs_{static_cast<std::uint32_t>(value), static_cast<std::uint32_t>(value >> 32)},
          size_{value == 0         ? 0u
                : value >> 32 == 0 ? 1u
                                   : 2u} {}

    [[nodiscard]] bool is_zero() const noexcept { return size_ == 0; }
    [[nodiscard]] std::uint32_t bits() const noexcept {
        return size_ == 0 ? 0 : 32 * size_ - static_cast<std::uint32_t>(std::countl_zero(limbs_[size_ - 1]));
    }
    /// Compares with `other`: below zero where this number is less, zero where they are equal, above zero where it is
    /// greater.
    [[nodiscard]] int compare(const natural& other) const noexcept {
        if (size_ != other.size_) return size_ < other.size_ ? -1 : 1;
        for (std::uint32_t i = size_; i-- > 0;)
            if (limbs_[i] != other.limbs_[i]) return limbs_[i] < other.limbs_[i] ? -1 : 1;
        return 0;
    }

    void multiply(std::uint32_t factor, std::uint32_t add = 0) noexcept {
        std::uint64_t carry = add;
        for (std::uint32_t i = 0; i < size_; ++i) {
            carry += std::uint64_t{limbs_[i]} * factor;
            limbs_[i] = static_cast<std::uint32_t>(carry);
            carry >>= 32;
        }
        if (carry != 0) limbs_[size_++] = static_cast<std::uint32_t>(carry);
    }
    void multiply_by_power_of_5(std::uint32_t power) noexcept {
        for (; power >= 13; power -= 13) multiply(1'220'703'125);
        std::uint32_t rest = 1;
        for (; power > 0; --power) rest *= 5;
        multiply(rest);
    }
    void shift_left(std::uint32_t by) noexcept {
        if (size_ == 0) return;
        const std::uint32_t whole = by / 32;
        if (whole > 0) {
            for (std::uint32_t i = size_; i-- > 0;) limbs_[i + whole] = limbs_[i];
            for (std::uint32_t i = 0; i < whole; ++i) limbs_[i] = 0;
            size_ += whole;
        }
        multiply(std::uint32_t{1} << (by % 32));
    }
    void add(const natural& other) noexcept {
        std::uint64_t carry = 0;
        for (std::uint32_t i = 0; i < size_ || i < other.size_ || carry != 0; ++i) {
            if (i == size_) limbs_[size_++] = 0;
            carry += std::uint64_t{limbs_[i]} + (i < other.size_ ? other.limbs_[i] : 0);
            limbs_[i] = static_cast<std::uint32_t>(carry);
            carry >>= 32;
        }
    }
    /// Becomes the remainder of its division by `divisor`, and returns the quotient, which is below 2^32. The highest
    /// bit of the divisor's highest limb is set, so that the two highest limbs give the quotient, or a number that is
    /// one or two larger (Knuth, The Art of Computer Programming, 4.3.1, algorithm D).
    std::uint32_t divide(const natural& divisor) noexcept {
        const std::uint32_t n = divisor.size_;
        if (size_ < n) return 0;
        const std::uint64_t top = (size_ > n ? std::uint64_t{limbs_[n]} << 32 : 0) | limbs_[n - 1];
        std::uint64_t quotient = top / divisor.limbs_[n - 1];
        if (quotient > 0xFFFF'FFFF) quotient = 0xFFFF'FFFF;
        std::uint64_t carry = 0; // of the product
        std::uint64_t borrow = 0;
        for (std::uint32_t i = 0; i < size_; ++i) {
            carry += i < n ? quotient * divisor.limbs_[i] : 0;
            const std::uint64_t difference = std::uint64_t{limbs_[i]} - static_cast<std::uint32_t>(carry) - borrow;
            limbs_[i] = static_cast<std::uint32_t>(difference);
            borrow = difference >> 63;
            carry >>= 32;
        }
        for (std::uint64_t missing = carry + borrow; missing > 0; --quotient) {
            std::uint64_t sum = 0;
            for (std::uint32_t i = 0; i < size_; ++i) {
                sum += std::uint64_t{limbs_[i]} + (i < n ? divisor.limbs_[i] : 0);
                limbs_[i] = static_cast<std::uint32_t>(sum);
                sum >>= 32;
            }
            missing -= sum;
        }
        while (size_ > 0 && limbs_[size_ - 1] == 0) --size_;
        return static_cast<std::uint32_t>(quotient);
    }

  private:
    std::uint32_t limbs_[84];
    std::uint32_t size_;
};

/// A decimal text as `digits` * 10^`power`. Only 770 digits are kept; `more` says whether one of the others is not
/// zero. That is enough: a number in the middle between two doubles has 767 digits at most.
struct decimal_text {
    natural digits{0};
    std::int64_t power{0};
    std::int64_t count{0}; ///< of digits that are kept, without leading zeros
    bool more{false};

    /// Takes one digit, which stands before or behind the point.
    void take(char c, bool fraction) noexcept {
        if (count == 770) {
            more = more || c != '0';
            power += fraction ? 0 : 1;
            return;
        }
        digits.multiply(10, static_cast<std::uint32_t>(c - '0'));
        if (!digits.is_zero()) ++count;
        power -= fraction ? 1 : 0;
    }
};

/// Reads text such as "12.5e-3", without a sign; false for other text.
CKPT_DETAIL_COLD inline bool split_decimal(std::string_view text, decimal_text& out) noexcept {
    bool any = false;
    bool fraction = false;
    for (; !text.empty() && (is_digit(text[0]) || (text[0] == '.' && !fraction)); text.remove_prefix(1)) {
        if (text[0] == '.') {
            fraction = true;
            continue;
        }
        out.take(text[0], fraction);
        any = true;
    }
    if (!any || text.empty()) return any;
    if (text[0] != 'e' && text[0] != 'E') return false;
    text.remove_prefix(1);
    const bool minus = text.starts_with('-');
    if (minus || text.starts_with('+')) text.remove_prefix(1);
    if (text.empty()) return false;
    constexpr std::int64_t enough = std::int64_t{1} << 60; // more than the digits of any text can make up for
    std::int64_t exponent = 0;
    for (const char c : text) {
        if (!is_digit(c)) return false;
        if (exponent < enough / 10) exponent = exponent * 10 + (c - '0');
    }
    out.power += minus ? -exponent : exponent;
    return true;
}

/// The bits of the double that is nearest to `mantissa` * 2^`exponent`; `more`: the number is slightly larger than
/// that. The mantissa's highest bit is set. Returns 0 where the double would be zero or infinite.
CKPT_DETAIL_COLD inline std::uint64_t round_to_double(std::uint64_t mantissa, std::int64_t exponent,
                                                      bool more) noexcept {
    const std::int64_t leading = exponent + 63;
    if (leading > 1023 || leading < -1075) return 0;
    const bool normal = leading >= -1022;
    const auto dropped = static_cast<std::uint32_t>(normal ? 11 : 11 - 1022 - leading); // 64 at most
    const std::uint64_t half = std::uint64_t{1} << (dropped - 1);
    std::uint64_t kept = dropped == 64 ? 0 : mantissa >> dropped;
    const std::uint64_t below = mantissa & (half - 1);
    if ((mantissa & half) != 0 && (below != 0 || more || (kept & 1) != 0)) ++kept;
    // A mantissa that was rounded up to the next power of two carries into the exponent, as it should.
    if (normal) kept += static_cast<std::uint64_t>(leading + 1022) << 52;
    return kept >= std::uint64_t{0x7FF} << 52 ? 0 : kept;
}

/// The bits of the double that is nearest to a number other than zero; 0 where the double would be zero or infinite.
CKPT_DETAIL_COLD inline std::uint64_t nearest_double(decimal_text& number) noexcept {
    const std::int64_t magnitude = number.count + number.power; // below 10^magnitude, and at least a tenth of that
    if (magnitude > 310 || magnitude < -323) return 0;
    natural& dividend = number.digits;
    natural divisor{1};
    if (number.power >= 0) dividend.multiply_by_power_of_5(static_cast<std::uint32_t>(number.power));
    else divisor.multiply_by_power_of_5(static_cast<std::uint32_t>(-number.power));
    const std::uint32_t dividend_bits = dividend.bits();
    const std::uint32_t divisor_bits = divisor.bits();
    const std::uint32_t width = ((dividend_bits > divisor_bits ? dividend_bits : divisor_bits) + 31) / 32 * 32;
    dividend.shift_left(width - dividend_bits);
    divisor.shift_left(width - divisor_bits);
    // Both have as many bits now, so the quotient is between a half and two. 64 bits behind its point are taken.
    std::int64_t exponent = number.power + dividend_bits - divisor_bits - 64;
    const bool whole = dividend.divide(divisor) != 0;
    dividend.shift_left(32);
    std::uint64_t quotient = std::uint64_t{dividend.divide(divisor)} << 32;
    dividend.shift_left(32);
    quotient |= dividend.divide(divisor);
    bool more = number.more || !dividend.is_zero();
    if (whole) {
        more = more || (quotient & 1) != 0;
        quotient = std::uint64_t{1} << 63 | quotient >> 1;
        ++exponent;
    }
    return round_to_double(quotient, exponent, more);
}

/// Whether `text` is `word` in upper, lower or mixed case; `word` is lower case.
inline bool is_word(std::string_view text, std::string_view word) noexcept {
    if (text.size() != word.size()) return false;
    for (std::size_t i = 0; i < word.size(); ++i)
        if (text[i] != word[i] && text[i] != word[i] - ('a' - 'A')) return false;
    return true;
}

CKPT_DETAIL_RARE bool parse_double(std::string_view text, double& out) noexcept {
    const bool minus = text.starts_with('-');
    if (minus) text.remove_prefix(1);
    std::uint64_t bits = 0;
    if (is_word(text, "inf") || is_word(text, "infinity")) {
        bits = std::uint64_t{0x7FF} << 52;
    } else if (is_word(text, "nan")) {
        bits = std::uint64_t{0xFFF} << 51;
    } else {
        decimal_text number;
        if (!split_decimal(text, number)) return false;
        if (!number.digits.is_zero()) {
            bits = nearest_double(number);
            if (bits == 0) return false;
        }
    }
    out = std::bit_cast<double>(bits | std::uint64_t{minus} << 63);
    return true;
}

CKPT_DETAIL_DEF std::string decimal_unsigned(std::uint64_t value) {
    char buffer[24];
    char* const end = buffer + sizeof buffer;
    return {write_digits(value, 10, end), end};
}

CKPT_DETAIL_DEF std::string decimal_signed(std::int64_t value) {
    char buffer[24];
    char* const end = buffer + sizeof buffer;
    return {write_decimal(value, end), end};
}

CKPT_DETAIL_DEF std::string hexadecimal(std::uint64_t value) {
    char buffer[24];
    char* const end = buffer + sizeof buffer;
    char* begin = write_digits(value, 16, end);
    *--begin = 'x';
    *--begin = '0';
    return {begin, end};
}

/// A finite double above zero as dividend_ / divisor_ * 10^power_, with a quotient in [0, 1). above_ and below_ over
/// the same divisor are its distances to the middles between it and its neighbours (Steele and White; Burger and
/// Dybvig).
class digit_source {
  public:
    CKPT_DETAIL_COLD explicit digit_source(std::uint64_t bits) noexcept
        : even_{(bits & 1) == 0}, dividend_{0}, divisor_{1}, above_{1}, below_{1} {
        const std::uint64_t fraction = bits << 12 >> 12;
        const auto biased = static_cast<std::int32_t>(bits >> 52);
        const std::int32_t exponent = (biased == 0 ? 1 : biased) - 1075;
        const std::uint64_t mantissa = fraction | (biased == 0 ? 0 : std::uint64_t{1} << 52);
        // The neighbour below a power of two is half as far away as the one above, so everything is counted in quarters
        // there and in halves elsewhere.
        const bool uneven = fraction == 0 && biased > 1;
        dividend_ = natural{mantissa};
        dividend_.shift_left(uneven ? 2 : 1);
        divisor_.shift_left(uneven ? 2 : 1);
        above_.shift_left(uneven ? 1 : 0);
        if (exponent < 0) divisor_.shift_left(static_cast<std::uint32_t>(-exponent));
        else scale([&](natural& n) { n.shift_left(static_cast<std::uint32_t>(exponent)); });
        find_power(exponent + 63 - std::countl_zero(mantissa));
        // Division wants the divisor's highest bit at the top of a limb.
        const std::uint32_t gap = (32 - divisor_.bits() % 32) % 32;
        divisor_.shift_left(gap);
        scale([&](natural& n) { n.shift_left(gap); });
    }

    /// The value is 0.ddd * 10^power, where ddd are the digits.
    [[nodiscard]] std::int32_t power() const noexcept { return power_; }
    /// The next digit of the exact value.
    [[nodiscard]] CKPT_DETAIL_COLD char next() noexcept {
        scale([](natural& n) { n.multiply(10); });
        return static_cast<char>('0' + dividend_.divide(divisor_));
    }
    /// Whether the digits so far read back as the value. A middle is rounded to the even mantissa.
    [[nodiscard]] bool reads_back() const noexcept {
        const int order = dividend_.compare(below_);
        return order < 0 || (even_ && order == 0);
    }
    /// Whether the digits so far, with the last one increased by one, read back as the value.
    [[nodiscard]] bool next_reads_back() const noexcept {
        natural sum = dividend_;
        sum.add(above_);
        const int order = sum.compare(divisor_);
        return order > 0 || (even_ && order == 0);
    }
    /// Whether the value is nearer to the next digit than to `last`, or in the middle and `last` is odd.
    [[nodiscard]] bool rounds_up(char last) const noexcept {
        natural twice = dividend_;
        twice.shift_left(1);
        const int order = twice.compare(divisor_);
        return order > 0 || (order == 0 && (last - '0') % 2 != 0);
    }

  private:
    template <class F> void scale(F&& f) noexcept {
        f(dividend_);
        f(above_);
        f(below_);
    }
    /// Scales until the value, or the middle above it, is below one and at least a tenth. `log2` is rounded down.
    void find_power(std::int32_t log2) noexcept {
        power_ = log2 * 1233 / 4096 - 1; // too small by one to three
        const auto tens = static_cast<std::uint32_t>(power_ < 0 ? -power_ : power_);
        const auto by_tens = [&](natural& n) {
            n.multiply_by_power_of_5(tens);
            n.shift_left(tens);
        };
        if (power_ < 0) scale(by_tens);
        else by_tens(divisor_);
        for (; next_reads_back(); ++power_) divisor_.multiply(10);
    }

    bool even_;
    std::int32_t power_{0};
    natural dividend_;
    natural divisor_;
    natural above_;
    natural below_;
};

/// Writes the fewest digits that read back as one double above zero, and returns how many they are, 17 at most.
CKPT_DETAIL_COLD inline std::size_t shortest_digits(digit_source from, char* digits) noexcept {
    for (std::size_t n = 0;; ++n) {
        digits[n] = from.next();
        const bool low = from.reads_back();
        const bool high = from.next_reads_back();
        if (!low && !high) continue;
        if (high && (!low || from.rounds_up(digits[n]))) ++digits[n];
        return n + 1;
    }
}

/// Whether a number below 10^power with so many digits is written as "12300", because "1.23e+04" is not shorter.
inline bool is_fixed(std::int32_t power, std::int32_t digits) noexcept {
    const std::int32_t exponent = power > 0 ? power - 1 : 1 - power;
    const std::int32_t scientific = digits + (digits > 1 ? 1 : 0) + (exponent < 100 ? 4 : 5);
    const std::int32_t fixed = power >= digits ? power : power > 0 ? digits + 1 : digits + 2 - power;
    return fixed <= scientific;
}

CKPT_DETAIL_RARE std::string shortest(double value) {
    const auto all = std::bit_cast<std::uint64_t>(value);
    const std::uint64_t bits = all << 1 >> 1;
    std::string out(all >> 63 != 0 ? "-" : "");
    if (bits >= std::uint64_t{0x7FF} << 52) return out += bits << 12 != 0 ? "nan" : "inf";
    if (bits == 0) return out += '0';
    digit_source source{bits};
    char digits[24];
    const std::size_t n = shortest_digits(source, digits);
    const std::int32_t power = source.power();
    if (!is_fixed(power, static_cast<std::int32_t>(n))) {
        out += digits[0];
        if (n > 1) (out += '.').append(digits + 1, n - 1);
        out += power > 0 ? "e+" : "e-";
        const auto exponent = static_cast<std::uint64_t>(power > 0 ? power - 1 : 1 - power);
        if (exponent < 10) out += '0';
        return out += decimal(exponent);
    }
    if (power <= 0) {
        out.append("0.").append(static_cast<std::size_t>(-power), '0').append(digits, n);
        return out;
    }
    const auto whole = static_cast<std::size_t>(power);
    if (whole >= n) // a whole number is written in full: 2^60 as 1152921504606846976
        for (std::size_t i = 0; i < whole; ++i) out += source.next();
    else out.append(digits, whole).append(1, '.').append(digits + whole, n - whole);
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
