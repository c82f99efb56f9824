// Continues a text with a GPT-2 whose tokens are bytes, and compares the tokens and the scores with those of
// transformers. The arguments are the model and the reference (tests/frameworks/example_models.py writes both).
#include <ckpt/ckpt.hpp>
#include <ckpt/state/read_into.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

namespace {

using floats = std::vector<float>; // one value for each feature
using view1 = ckpt::tensor_view<float, 1>;
using view2 = ckpt::tensor_view<float, 2>;

struct lnorm { // of a layer norm
    view1 weight, bias;
};
struct linear { // of transformers' GPT-2: a row for each input
    view2 weight;
    view1 bias;
};
struct block {
    lnorm before_attention;
    linear qkv, projection;
    lnorm before_mlp;
    linear up, down;
};
struct gpt2 {
    view2 tokens, positions;
    std::vector<block> blocks;
    lnorm last;
    view2 head; // tied: the same bytes as `tokens`
};
struct settings {
    std::size_t heads{};
    float epsilon{};
};

} // namespace

using ckpt::field, ckpt::fields;

template <> struct ckpt::binding<lnorm> : fields<field<"weight", &lnorm::weight>, field<"bias", &lnorm::bias>> {};
template <> struct ckpt::binding<linear> : fields<field<"weight", &linear::weight>, field<"bias", &linear::bias>> {};
template <>
struct ckpt::binding<block> : fields<field<"ln_1", &block::before_attention>, field<"attn.c_attn", &block::qkv>,
                                     field<"attn.c_proj", &block::projection>, field<"ln_2", &block::before_mlp>,
                                     field<"mlp.c_fc", &block::up>, field<"mlp.c_proj", &block::down>> {};
template <>
struct ckpt::binding<gpt2>
    : fields<field<"transformer.wte.weight", &gpt2::tokens>, field<"transformer.wpe.weight", &gpt2::positions>,
             field<"transformer.h", &gpt2::blocks>, field<"transformer.ln_f", &gpt2::last>,
             field<"lm_head.weight", &gpt2::head>> {};
template <>
struct ckpt::binding<settings>
    : fields<field<"n_head", &settings::heads>, field<"layer_norm_epsilon", &settings::epsilon>> {};

namespace {

/// The keys and values of earlier positions, one behind another.
struct memory {
    floats keys, values;
};

floats normalized(const lnorm& n, const floats& x, float epsilon) {
    float mean = 0, variance = 0;
    for (const float v : x) mean += v / static_cast<float>(x.size());
    for (const float v : x) variance += (v - mean) * (v - mean) / static_cast<float>(x.size());
    floats out(x.size());
    for (std::size_t i = 0; i < x.size(); ++i)
        out[i] = (x[i] - mean) / std::sqrt(variance + epsilon) * n.weight(i) + n.bias(i);
    return out;
}

floats project(const linear& l, const floats& x) {
    floats out(static_cast<std::size_t>(l.weight.shape[1]));
    for (std::size_t o = 0; o < out.size(); ++o) out[o] = l.bias(o);
    for (std::size_t i = 0; i < x.size(); ++i) {
        const float* const row = &l.weight(i, 0); // the values of a row lie one behind another
        for (std::size_t o = 0; o < out.size(); ++o) out[o] += x[i] * row[o];
    }
    return out;
}

void add(floats& to, const floats& x) {
    for (std::size_t i = 0; i < to.size(); ++i) to[i] += x[i];
}

float gelu(float x) {
    constexpr float root = 0.7978845608f; // of 2 / pi
    return 0.5f * x * (1 + std::tanh(root * (x + 0.044715f * x * x * x)));
}

/// What the last position takes from all positions so far.
floats attend(const floats& qkv, memory& past, std::size_t heads) {
    const std::size_t width = qkv.size() / 3, size = width / heads;
    past.keys.insert(past.keys.end(), &qkv[width], &qkv[width] + width);
    past.values.insert(past.values.end(), &qkv[2 * width], &qkv[2 * width] + width);
    const std::size_t positions = past.keys.size() / width;
    floats out(width), share(positions);
    for (std::size_t head = 0; head < width; head += size) {
        float most = -INFINITY, sum = 0;
        for (std::size_t p = 0; p < positions; ++p) {
            float dot = 0;
            for (std::size_t i = head; i < head + size; ++i) dot += qkv[i] * past.keys[p * width + i];
            share[p] = dot / std::sqrt(static_cast<float>(size));
            most = std::max(most, share[p]);
        }
        for (float& s : share) sum += s = std::exp(s - most);
        for (std::size_t p = 0; p < positions; ++p)
            for (std::size_t i = head; i < head + size; ++i) out[i] += share[p] / sum * past.values[p * width + i];
    }
    return out;
}

/// The scores of all tokens to come behind `token`, which stands at `position`.
floats scores(const gpt2& net, const settings& with, std::size_t token, std::size_t position,
              std::vector<memory>& past) {
    floats x(static_cast<std::size_t>(net.tokens.shape[1]));
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = net.tokens(token, i) + net.positions(position, i);
    for (std::size_t b = 0; b < net.blocks.size(); ++b) {
        const block& at = net.blocks[b];
        const floats qkv = project(at.qkv, normalized(at.before_attention, x, with.epsilon));
        add(x, project(at.projection, attend(qkv, past[b], with.heads)));
        floats hidden = project(at.up, normalized(at.before_mlp, x, with.epsilon));
        for (float& h : hidden) h = gelu(h);
        add(x, project(at.down, hidden));
    }
    x = normalized(net.last, x, with.epsilon);
    floats out(static_cast<std::size_t>(net.head.shape[0]));
    for (std::size_t t = 0; t < out.size(); ++t)
        for (std::size_t i = 0; i < x.size(); ++i) out[t] += x[i] * net.head(t, i);
    return out;
}

} // namespace

int main(int, char** argv) try {
    const auto file = ckpt::open(argv[1]).value();
    const auto net = ckpt::load<gpt2>(file.state_dict("model").value()).value(); // strict: every key, both ways
    settings with;
    ckpt::read_into(file.root().find("config").value(), with).value();

    const auto reference = ckpt::open(argv[2]).value();
    const auto wanted = reference.state_dict().value();
    const auto wanted_tokens = wanted.view<std::int64_t, 1>("tokens").value();
    const auto wanted_scores = wanted.view<float, 2>("logits").value();
    const std::string prompt = reference.get<std::string>("prompt").value();

    std::string text;
    std::vector<memory> past(net->blocks.size());
    std::size_t equal = 0;
    float distance = 0;
    for (std::size_t p = 0, next = 0; p < static_cast<std::size_t>(wanted_tokens.shape[0]); ++p) {
        const std::size_t token = p < prompt.size() ? static_cast<unsigned char>(prompt[p]) : next;
        text += static_cast<char>(token);
        equal += wanted_tokens(p) == static_cast<std::int64_t>(token);
        const floats out = scores(*net, with, token, p, past);
        for (std::size_t t = 0; t < out.size(); ++t)
            distance = std::max(distance, std::abs(out[t] - wanted_scores(p, t)));
        next = static_cast<std::size_t>(std::max_element(out.begin(), out.end()) - out.begin());
    }
    std::printf("%s\n\n", text.c_str());
    std::printf("%zu of %lld tokens are those of transformers\n", equal,
                static_cast<long long>(wanted_tokens.shape[0]));
    std::printf("the scores differ by at most %.1e\n", double(distance));
} catch (const std::exception& e) { // checkpoint_error says what to do
    std::fprintf(stderr, "%s\n", e.what());
    return 2;
}
