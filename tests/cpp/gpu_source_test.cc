// Runs the GPU kernels, on the host, for a source of points that they do not know.  The kernels are
// compiled here with a list of sources that has it alone.

#include <cmath>
#include <cstdint>
#include <random>

#include "cc/core/modes.h"
#include "cc/core/pixel_types.h"
#include "cc/core/points.h"
#include "tests/cpp/check.h"
#include "tests/cpp/gpu_support.h"
#include "tests/cpp/translated_points.h"

#undef TF_STN_FOR_EACH_SOURCE
#define TF_STN_FOR_EACH_SOURCE(visit, Rank, T) visit(TranslatedPoints, Rank, T)

#include "cc/kernels/gpu/gradient.cu.cc"
#include "cc/kernels/gpu/ordered_gradient.cu.cc"
#include "cc/kernels/gpu/sample.cu.cc"

namespace tf_stn {
namespace {

// Outputs of as many pixels as there are points; each has another translation.
template <int Rank, typename T>
struct TranslatedProblem : Problem<Rank, T> {
  using typename Problem<Rank, T>::Real;
  using Points = TranslatedPoints<Rank, Real>;

  explicit TranslatedProblem(const Case& c)
      : Problem<Rank, T>(c),
        shared(c.shared),
        outputs(c.outputs),
        translations((c.shared ? 1 : c.images) * c.outputs * Rank, c.shift) {
    std::uniform_real_distribution<double> shift(-4, 4);
    for (int64_t i = 0; i < translations.size(); ++i) {
      const double value = shift(this->rng);
      translations[i] = static_cast<Real>(i % 5 == 0 ? std::floor(value) : value);
    }
    if (translations.size() > Rank) translations[translations.size() - 1] = static_cast<Real>(kNaN);
  }

  Points points() {
    const int64_t output_points = this->sizes.points_per_image / outputs;
    Points points = {translations.data(), shared ? 0 : outputs, translations.size() / Rank, {}};
    points.size.side[0] = PlainDivision(output_points / 6);  // Two or three pixels deep or high.
    points.size.side[Rank - 1] = PlainDivision(Rank == 3 ? 3 : 6);
    if (Rank == 3) points.size.side[1] = PlainDivision(2);
    return points;
  }
  int64_t parameters() const { return translations.size(); }

  bool shared;
  int64_t outputs;
  Memory<Real> translations;
};

template <int Rank, typename T>
void CheckSource() {
  constexpr Case kCases[] = {
      {2, 4, 5, 3, 18},
      {3, 4, 5, 4, 12, 0, false, false, true},
      {2, 3, 4, 33, 12, 1, false, false, false, 2},
      {3, 3, 4, 2, 18, 0, false, false, true, 2},
      {0, 3, 4, 2, 18},
      {2, 3, 4, 0, 18},
  };
  constexpr Modes kModes[] = {
      {},
      {InterpolationMode::kNearest, PaddingMode::kWrap},
      {InterpolationMode::kLinear, PaddingMode::kBorder},
      {InterpolationMode::kCubic, PaddingMode::kReflect},
      {InterpolationMode::kCubic, PaddingMode::kZeros, {1, 0, 0}},
  };
  for (Case c : kCases) {
    for (const Modes& modes : kModes) {
      c.modes = modes;
      CheckForward<TranslatedProblem<Rank, T>>(c);
      CheckGradient<TranslatedProblem<Rank, T>>(c, /*deterministic=*/false, true, true);
      CheckGradient<TranslatedProblem<Rank, T>>(c, /*deterministic=*/true, true, false);
    }
  }
}

TEST(ASourceOnlyTestsHaveWorksInImages) {
  CheckSource<2, float>();
  CheckSource<2, double>();
  CheckSource<2, Half>();
  CheckSource<2, BFloat16>();
}

TEST(ASourceOnlyTestsHaveWorksInVolumes) {
  CheckSource<3, float>();
  CheckSource<3, double>();
}

}  // namespace
}  // namespace tf_stn
