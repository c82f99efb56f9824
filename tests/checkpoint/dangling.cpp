// tests/checkpoint/dangling.cpp: the ways to dangle that compile without a warning, and what stops each.
//
// SPDX-License-Identifier: MIT
// What a compiler finds is in tests/compile_fail/dangling_*.cpp. What is here no compiler that we know of finds: a
// borrower passes through `value()`, a struct or a variable on its way out of the scope of its owner. Where the memory
// is that of a closed file the system stops it; AddressSanitizer stops all of them, as this suite shows where it is
// compiled with it. `load<T>`, which returns a struct together with its file, does not dangle.
#include <ckpt/ckpt.hpp>
#include <ckpt/state/pull.hpp>

#include "../support/sanitized.hpp"
#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstddef>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dangling_test {

using namespace test_support;

namespace {

struct linear {
    ckpt::tensor_view<float, 2> weight;
    ckpt::tensor_view<float, 1> bias;
};
struct model {
    linear fc1;
};

} // namespace

} // namespace dangling_test

template <>
struct ckpt::binding<dangling_test::linear> : ckpt::fields<ckpt::field<"weight", &dangling_test::linear::weight>,
                                                           ckpt::field<"bias", &dangling_test::linear::bias>> {};
template <>
struct ckpt::binding<dangling_test::model> : ckpt::fields<ckpt::field<"fc1", &dangling_test::model::fc1>> {};

namespace dangling_test {

namespace {

constexpr const char* demo = CKPT_TEST_DATA "/demo/mlp.pt";

[[nodiscard]] ckpt::checkpoint file() { return ckpt::open(demo).value(); }
[[nodiscard]] ckpt::state_dict weights(ckpt::storage_mode storages = ckpt::storage_mode::mapped) {
    return ckpt::open(demo, {.storages = storages}).value().state_dict().value();
}

/// Whether `way`, which runs in a process of its own, is stopped: by the sanitizer, or by the system, where the memory
/// was that of a file that is closed.
template <class Way> [[nodiscard]] bool is_stopped(Way way) {
    std::fflush(nullptr);
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        for (const int end : {SIGSEGV, SIGABRT}) (void)std::signal(end, SIG_DFL); // not doctest's, which would report
        for (std::FILE* const text : {stdout, stderr}) (void)std::freopen("/dev/null", "w", text);
        [[maybe_unused]] const volatile auto seen = way();
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}
template <class Way> void check_stopped(const char* name, Way way) {
    CAPTURE(name);
    CHECK(is_stopped(way));
}

} // namespace

TEST_CASE("what borrows is stopped when it is used after its owner") {
    if (!address_sanitized) return;
    check_stopped("a struct of views that a function fills and returns", [] {
        const auto make = [] {
            const auto source = weights();
            model net{};
            ckpt::load(source, net).value();
            return net;
        };
        return make().fc1.weight(0, 0);
    });
    check_stopped("a struct of views that is copied out of a loaded<T>", [] {
        const auto make = [] {
            const auto net = ckpt::load<model>(weights()).value();
            return net->fc1;
        };
        return make().weight(0, 0);
    });
    check_stopped("a view that passes through value()", [] {
        const auto make = [] {
            const auto source = weights();
            return source.view<float, 2>("fc1.weight").value();
        };
        return make()(0, 0);
    });
    check_stopped("a view of storages that a state_dict owns", [] {
        const auto make = [] {
            const auto source = weights(ckpt::storage_mode::owned);
            return source.view<float, 2>("fc1.weight").value();
        };
        return make()(0, 0);
    });
    check_stopped("a tensor that passes through value()", [] {
        const auto make = [] {
            const auto source = weights();
            return source.at("fc1.weight").value();
        };
        return make().numel();
    });
    check_stopped("a key that is kept", [] {
        std::string_view key;
        for (const auto entry : weights()) key = entry.key;
        return key.front();
    });
    check_stopped("a value below the root", [] {
        const auto make = [] {
            const auto opened = file();
            return opened.root().find("epoch").value();
        };
        return static_cast<int>(make().kind());
    });
    check_stopped("the bytes of a checkpoint in memory", [] {
        std::string bytes =
            torch_file(pkl::dict({{pkl::str("w"), pkl::floats("0", 4)}}), {{"0", raw<float>({1, 2, 3, 4})}});
        std::vector<std::byte> memory(bytes_of(bytes).begin(), bytes_of(bytes).end());
        const auto source = ckpt::open_bytes(memory).value().state_dict().value();
        memory = std::vector<std::byte>{};
        return source.view<float, 1>("w").value()(0);
    });
    check_stopped("a span of a copy that is gone", [] {
        std::span<const float> numbers;
        {
            const auto source = weights();
            const auto copy = ckpt::tensor_copy<float, 2>::of(source.at("fc1.weight").value()).value();
            numbers = copy.span();
        }
        return numbers.front();
    });
    check_stopped("a view of a puller that is gone", [] {
        const auto make = [] {
            const auto source = weights();
            const ckpt::puller puller{source};
            return puller.view<float, 2>("fc1.weight").value();
        };
        return make()(0, 0);
    });
}

TEST_CASE("a loaded<T> that a function returns is not stopped") {
    CHECK_FALSE(is_stopped([] {
        const auto make = [] { return ckpt::load<model>(weights()).value(); };
        const auto net = make();
        return net->fc1.weight(0, 0);
    }));
}

} // namespace dangling_test
