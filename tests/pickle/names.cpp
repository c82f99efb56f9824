// tests/pickle/names.cpp: patterns, present spellings, and names that can only be an attack.
//
// SPDX-License-Identifier: MIT
#include <ckpt/pickle/names.hpp>

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace names_test {

using namespace ckpt::detail;

namespace {

std::vector<std::string_view> split(std::string_view text) {
    std::vector<std::string_view> out;
    for (std::size_t dot = text.find('.'); dot != std::string_view::npos; dot = text.find('.')) {
        out.push_back(text.substr(0, dot));
        text.remove_prefix(dot + 1);
    }
    out.push_back(text);
    return out;
}
bool segment_matches(std::string_view pattern, std::string_view text) {
    if (pattern.empty()) return text.empty();
    if (pattern[0] == '*')
        return segment_matches(pattern.substr(1), text) || (!text.empty() && segment_matches(pattern, text.substr(1)));
    return !text.empty() && pattern[0] == text[0] && segment_matches(pattern.substr(1), text.substr(1));
}
bool segments_match(const std::vector<std::string_view>& pattern, std::size_t p,
                    const std::vector<std::string_view>& text, std::size_t t) {
    if (p == pattern.size()) return t == text.size();
    if (pattern[p] == "**") {
        for (std::size_t k = t; k <= text.size(); ++k)
            if (segments_match(pattern, p + 1, text, k)) return true;
        return false;
    }
    return t < text.size() && segment_matches(pattern[p], text[t]) && segments_match(pattern, p + 1, text, t + 1);
}

TEST_CASE("a pattern matches as a plain recursive matcher says") {
    const std::vector<std::string> segments{"a", "b", "ab", "*", "a*", "*b", "**"};
    const std::vector<std::string> words{"a", "b", "ab", "ba", "aab"};
    std::vector<std::string> patterns;
    std::vector<std::string> texts;
    for (const auto& x : segments) {
        patterns.push_back(x);
        for (const auto& y : segments) {
            patterns.push_back(x + '.' + y);
            for (const auto& z : segments) patterns.push_back(x + '.' + y + '.' + z);
        }
    }
    for (const auto& x : words) {
        texts.push_back(x);
        for (const auto& y : words) {
            texts.push_back(x + '.' + y);
            for (const auto& z : words) {
                texts.push_back(x + '.' + y + '.' + z);
                texts.push_back(x + '.' + y + '.' + z + '.' + x);
            }
        }
    }
    std::size_t wrong = 0;
    std::string first;
    for (const auto& p : patterns)
        for (const auto& t : texts)
            if (matches_dotted(p, t) != segments_match(split(p), 0, split(t), 0)) {
                if (wrong++ == 0) first = p + " on " + t;
            }
    CAPTURE(first);
    CHECK(wrong == 0);
}

TEST_CASE("a star stays inside its segment, two stars do not") {
    CHECK(matches_dotted("*", "abc"));
    CHECK_FALSE(matches_dotted("*", "a.b"));
    CHECK(matches_dotted("**", "a.b.c"));
    CHECK(matches_dotted("**", ""));
    CHECK(matches_dotted("a.**", "a"));
    CHECK(matches_dotted("a.**", "a.b.c"));
    CHECK_FALSE(matches_dotted("a.**", "ab"));
    CHECK_FALSE(matches_dotted("a.**", "ab.c"));
    CHECK(matches_dotted("**.x", "x"));
    CHECK(matches_dotted("**.x", "a.b.x"));
    CHECK_FALSE(matches_dotted("**.x", "ax"));
    CHECK(matches_dotted("*Error", "ValueError"));
    CHECK_FALSE(matches_dotted("*Error", "ValueErrors"));
    CHECK_FALSE(matches_dotted("torch.nn.*", "torch.nn.modules.conv"));
    CHECK_FALSE(matches_dotted("torch.nn.**", "torch.nnx"));
}

TEST_CASE("a pattern of many stars on a long text ends soon") {
    const std::string pattern = "**.a*a*a*a*a*a*a*a*b.**.c*c*c*c*c*d";
    std::string text;
    for (int i = 0; i < 2000; ++i) text += "aaaaaaaaaa.ccccccccc.";
    CHECK_FALSE(matches_dotted(pattern, text + "x"));
}

TEST_CASE("old spellings have a present one") {
    const auto now = [](std::string_view module, std::string_view name) {
        const canonical_name c{module, name};
        return std::string(c.module()) + ' ' + std::string(c.name());
    };
    const std::pair<std::pair<const char*, const char*>, const char*> rows[]{
        {{"__builtin__", "set"}, "builtins set"},
        {{"__builtin__", "xrange"}, "builtins range"},
        {{"__builtin__", "unicode"}, "builtins str"},
        {{"__builtin__", "long"}, "builtins int"},
        {{"copy_reg", "_reconstructor"}, "copyreg _reconstructor"},
        {{"exceptions", "ValueError"}, "builtins ValueError"},
        {{"numpy.core.multiarray", "scalar"}, "numpy._core.multiarray scalar"},
        {{"numpy.core", "x"}, "numpy._core x"},
        {{"numpy.corex", "x"}, "numpy.corex x"},
        {{"pytorch_lightning.callbacks", "X"}, "lightning.pytorch.callbacks X"},
        {{"torch.tensor", "_rebuild_from_type_v2"}, "torch._tensor _rebuild_from_type_v2"},
        {{"torch.tensor", "other"}, "torch.tensor other"},
        {{"torch.storage", "_UntypedStorage"}, "torch.storage UntypedStorage"},
        {{"torch._utils", "_rebuild_xla_tensor"}, "torch._utils _rebuild_device_tensor_from_numpy"},
        {{"cPickle", "loads"}, "pickle loads"},
        {{"pathlib._local", "PosixPath"}, "pathlib PosixPath"},
        {{"torch", "FloatStorage"}, "torch FloatStorage"},
        {{"", ""}, " "}};
    for (const auto& [written, present] : rows) CHECK(now(written.first, written.second) == present);
}

TEST_CASE("G1: names that can only be an attack are known, however they are cut") {
    const std::pair<const char*, const char*> attacks[]{
        {"os", "system"},
        {"posix", "system"},
        {"nt", "system"},
        {"os.path", "join"},
        {"subprocess", "Popen"},
        {"builtins", "eval"},
        {"builtins", "exec"},
        {"builtins", "__import__"},
        {"sys", "modules"},
        {"importlib", "import_module"},
        {"runpy", "_run_code"},
        {"ctypes", "CDLL"},
        {"pickle", "loads"},
        {"operator", "attrgetter"},
        {"_operator", "methodcaller"},
        {"functools", "reduce"},
        {"pydoc", "locate"},
        {"torch", "serialization.os.system"},
        {"torch.serialization", "os.system"},
        {"torch", "nn.os.system"},
        {"collections", "abc.sys.modules"},
        {"torch", "load"},
        {"torch.hub", "load"},
        {"torch.jit.unsupported_tensor_ops", "execWrapper"},
        {"torch.jit", "unsupported_tensor_ops.execWrapper"},
        {"torch.fx.experimental.symbolic_shapes", "ShapeEnv.evaluate_guards_expression"},
        {"numpy", "testing._private.utils.runstring"},
        {"x", "y.__globals__"},
        {"x", "__class__"},
        {"m", "a.__reduce__.b"}};
    for (const auto& pair : attacks) {
        const std::string_view module = pair.first;
        const std::string_view name = pair.second;
        CAPTURE(module);
        CAPTURE(name);
        CHECK(is_attack(module, name));
    }
    const std::pair<const char*, const char*> benign[]{{"torch", "FloatStorage"},
                                                       {"oss", "x"},
                                                       {"torch.nn.modules.conv", "Conv2d"},
                                                       {"builtins", "getattr"},
                                                       {"builtins", "evaluate"},
                                                       {"collections", "OrderedDict"},
                                                       {"my.os", "x"},
                                                       {"torch", "osx"},
                                                       {"functools", "partial"},
                                                       {"", ""},
                                                       {"", "os"},
                                                       {"torch.serialization", "_get_layout"}};
    for (const auto& pair : benign) {
        const std::string_view module = pair.first;
        const std::string_view name = pair.second;
        CAPTURE(module);
        CAPTURE(name);
        CHECK(is_attack(module, name) == (std::string_view{name} == "os"));
    }
}

} // namespace

} // namespace names_test
