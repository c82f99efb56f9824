// Finds speech in a recording with silero-vad, whose weights and settings are read from its TorchScript file (PyPI:
// silero-vad), and compares the probabilities with those of the original. The arguments are silero_vad.jit and the
// reference (tests/frameworks/example_models.py writes it), which has the recording, too.
#include <ckpt/ckpt.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <span>
#include <string>
#include <vector>

namespace {

using floats = std::vector<float>;
using view1 = ckpt::tensor_view<float, 1>;
using view2 = ckpt::tensor_view<float, 2>;
using view3 = ckpt::tensor_view<float, 3>;

struct convolution {
    view3 weight; // [outputs, inputs, taps]
    view1 bias;
};
struct block {
    convolution folded; // training had several beside each other
};
struct lstm_cell {
    view2 of_input, of_state; // [4 * features, features]: input, forget, cell and output gate
    view1 input_bias, state_bias;
};
struct detector {
    view3 spectrum; // [2 * frequencies, 1, samples]: cosines, then sines, times a window
    std::array<block, 4> encoder;
    lstm_cell recurrent;
    convolution last;
};
struct model {
    detector at_16k, at_8k;
};

} // namespace

using ckpt::field, ckpt::fields;

template <> struct ckpt::binding<block> : fields<field<"reparam_conv", &block::folded>> {};
template <>
struct ckpt::binding<convolution> : fields<field<"weight", &convolution::weight>, field<"bias", &convolution::bias>> {};
template <>
struct ckpt::binding<lstm_cell>
    : fields<field<"weight_ih", &lstm_cell::of_input>, field<"weight_hh", &lstm_cell::of_state>,
             field<"bias_ih", &lstm_cell::input_bias>, field<"bias_hh", &lstm_cell::state_bias>> {};
template <>
struct ckpt::binding<detector>
    : fields<field<"stft.forward_basis_buffer", &detector::spectrum>, field<"encoder", &detector::encoder>,
             field<"decoder.rnn", &detector::recurrent>, field<"decoder.decoder.2", &detector::last>> {};
template <> struct ckpt::binding<model> : fields<field<"_model", &model::at_16k>, field<"_model_8k", &model::at_8k>> {};

namespace {

/// A row of `columns` values for each feature.
struct plane {
    std::size_t rows{}, columns{};
    floats values;
    plane(std::size_t r, std::size_t c) : rows{r}, columns{c}, values(r * c) {}
    float& operator()(std::size_t r, std::size_t c) { return values[r * columns + c]; }
    float operator()(std::size_t r, std::size_t c) const { return values[r * columns + c]; }
};

/// The magnitudes of the frequencies in each window of the samples, one `hop` behind another.
plane magnitudes(const view3& spectrum, std::span<const float> samples, std::size_t hop) {
    const auto frequencies = static_cast<std::size_t>(spectrum.shape[0]) / 2;
    const auto window = static_cast<std::size_t>(spectrum.shape[2]);
    plane out(frequencies, (samples.size() - window) / hop + 1);
    for (std::size_t f = 0; f < frequencies; ++f)
        for (std::size_t t = 0; t < out.columns; ++t) {
            float re = 0, im = 0;
            for (std::size_t i = 0; i < window; ++i) {
                re += spectrum(f, 0, i) * samples[t * hop + i];
                im += spectrum(frequencies + f, 0, i) * samples[t * hop + i];
            }
            out(f, t) = std::sqrt(re * re + im * im);
        }
    return out;
}

/// A convolution with zeros around the input, so that each column has its neighbours, and what is negative set to 0.
plane convolve(const convolution& c, const plane& in, std::size_t stride) {
    const auto taps = static_cast<std::size_t>(c.weight.shape[2]), around = taps / 2;
    plane out(static_cast<std::size_t>(c.weight.shape[0]), (in.columns + 2 * around - taps) / stride + 1);
    for (std::size_t o = 0; o < out.rows; ++o)
        for (std::size_t t = 0; t < out.columns; ++t) {
            float sum = c.bias(o);
            for (std::size_t i = 0; i < in.rows; ++i)
                for (std::size_t k = 0; k < taps; ++k) {
                    const std::size_t at = t * stride + k; // in the input with the zeros around it
                    if (at >= around && at - around < in.columns) sum += c.weight(o, i, k) * in(i, at - around);
                }
            out(o, t) = std::max(sum, 0.0f);
        }
    return out;
}

float sigmoid(float x) { return 1 / (1 + std::exp(-x)); }

struct state {
    floats output, cell;
};

void step(const lstm_cell& l, const floats& x, state& s) {
    const std::size_t size = s.output.size();
    floats gates(4 * size);
    for (std::size_t g = 0; g < gates.size(); ++g) {
        gates[g] = l.input_bias(g) + l.state_bias(g);
        for (std::size_t i = 0; i < size; ++i) gates[g] += l.of_input(g, i) * x[i] + l.of_state(g, i) * s.output[i];
    }
    for (std::size_t i = 0; i < size; ++i) {
        s.cell[i] = sigmoid(gates[size + i]) * s.cell[i] + sigmoid(gates[i]) * std::tanh(gates[2 * size + i]);
        s.output[i] = sigmoid(gates[3 * size + i]) * std::tanh(s.cell[i]);
    }
}

struct settings { // what the file says beside the weights
    std::size_t context{}, hop{};
    std::array<std::size_t, 4> strides{};
};

settings settings_of(const ckpt::checkpoint& file) {
    const std::string at = "module/_model/";
    settings out{.context = file.get<std::size_t>(at + "context_size_samples").value(),
                 .hop = file.get<std::size_t>(at + "stft/hop_length").value()};
    for (std::size_t i = 0; i < out.strides.size(); ++i)
        out.strides[i] = file.get<std::size_t>(at + "encoder/" + std::to_string(i) + "/stride").value();
    return out;
}

/// The probability of speech in `samples`, which begin with those of the chunk before.
float speech(const detector& d, const settings& with, floats samples, state& s) {
    const std::size_t end = samples.size();
    for (std::size_t i = 0; i < with.context; ++i) samples.push_back(samples[end - 2 - i]); // a mirror at the end
    plane x = magnitudes(d.spectrum, samples, with.hop);
    for (std::size_t i = 0; i < d.encoder.size(); ++i) x = convolve(d.encoder[i].folded, x, with.strides[i]);
    step(d.recurrent, x.values, s); // one column is left
    float sum = d.last.bias(0);
    for (std::size_t i = 0; i < s.output.size(); ++i) sum += d.last.weight(0, i, 0) * std::max(s.output[i], 0.0f);
    return sigmoid(sum);
}

} // namespace

int main(int, char** argv) try {
    const auto file = ckpt::open(argv[1]).value();
    const auto net = ckpt::load<model>(file.state_dict().value()).value(); // strict: every key, both ways
    const settings with = settings_of(file);

    const auto reference = ckpt::open(argv[2]).value();
    const auto wanted = reference.state_dict().value();
    const auto audio = wanted.view<std::int16_t>("audio").value();
    const auto probabilities = wanted.view<float>("speech").value();
    const auto rate = reference.get<double>("sample_rate").value();

    constexpr float full_scale = 32768, begins_at = 0.5f, ends_below = 0.35f; // the defaults of silero-vad
    const std::size_t chunk = audio.size() / probabilities.size();
    const auto features = static_cast<std::size_t>(net->at_16k.recurrent.of_state.shape[1]);
    state s{floats(features), floats(features)};
    floats samples(with.context); // silence before the first
    float distance = 0;
    bool speaks = false;
    for (std::size_t c = 0; c < probabilities.size(); ++c) {
        for (const std::int16_t v : audio.subspan(c * chunk, chunk)) samples.push_back(float(v) / full_scale);
        const float p = speech(net->at_16k, with, samples, s);
        samples.erase(samples.begin(), samples.end() - static_cast<std::ptrdiff_t>(with.context));
        distance = std::max(distance, std::abs(p - probabilities[c]));
        if (speaks ? p < ends_below : p >= begins_at) {
            std::printf("%.2f s: speech %s\n", double(c * chunk) / rate, speaks ? "ends" : "begins");
            speaks = !speaks;
        }
    }
    std::printf("%zu probabilities differ by at most %.1e\n", probabilities.size(), double(distance));
} catch (const std::exception& e) { // checkpoint_error says what to do
    std::fprintf(stderr, "%s\n", e.what());
    return 2;
}
