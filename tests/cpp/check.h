// A test is a function; a failed check says where and what, and goes on.

#ifndef TF_STN_TESTS_CPP_CHECK_H_
#define TF_STN_TESTS_CPP_CHECK_H_

#include <cmath>
#include <cstdio>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace tf_stn {

inline int failures = 0;

struct Test {
  const char* name;
  std::function<void()> run;
};

inline std::vector<Test>& Tests() {
  static std::vector<Test> tests;
  return tests;
}

struct Registration {
  Registration(const char* name, std::function<void()> run) {
    Tests().push_back({name, std::move(run)});
  }
};

inline int RunAllTests() {
  for (const Test& test : Tests()) {
    const int before = failures;
    test.run();
    std::printf("%s %s\n", failures == before ? "ok    " : "FAILED", test.name);
  }
  std::printf("%d passed, %d failed checks\n", static_cast<int>(Tests().size()), failures);
  return failures == 0 ? 0 : 1;
}

// Equal within `tolerance`; two NaN are equal.
inline bool Near(double a, double b, double tolerance) {
  return a == b || std::abs(a - b) <= tolerance || (std::isnan(a) && std::isnan(b));
}

}  // namespace tf_stn

#define TEST(Name)                                                          \
  static void Name();                                                       \
  static const ::tf_stn::Registration registration_of_##Name(#Name, &Name); \
  static void Name()

#define CHECK(condition)                                                        \
  do {                                                                          \
    if (!(condition)) {                                                         \
      ++::tf_stn::failures;                                                     \
      std::printf("%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
    }                                                                           \
  } while (false)

#define CHECK_NEAR(a, b, tolerance)                                                        \
  do {                                                                                     \
    const double a_value = static_cast<double>(a), b_value = static_cast<double>(b);       \
    if (!::tf_stn::Near(a_value, b_value, tolerance)) {                                    \
      ++::tf_stn::failures;                                                                \
      std::printf("%s:%d: %s is %.17g, expected %.17g\n", __FILE__, __LINE__, #a, a_value, \
                  b_value);                                                                \
    }                                                                                      \
  } while (false)

#endif  // TF_STN_TESTS_CPP_CHECK_H_
