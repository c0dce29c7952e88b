// Leaves two types of pixels, for builds of the loops that would otherwise take minutes.  To be
// included before everything else, by -include.
//
// These two have in common with the others what there is: one converts as it loads and has sums of
// another type, of 32 bits; the other one is the type of its sums, of 64 bits.

#ifndef TF_STN_TESTS_CPP_FEW_PIXEL_TYPES_H_
#define TF_STN_TESTS_CPP_FEW_PIXEL_TYPES_H_

#include "cc/core/pixel_types.h"

#define TF_STN_FEW_PIXEL_TYPES
#undef TF_STN_FOR_EACH_PIXEL_TYPE
#define TF_STN_FOR_EACH_PIXEL_TYPE(visit) visit(Half, "half") visit(double, "double")

#endif  // TF_STN_TESTS_CPP_FEW_PIXEL_TYPES_H_
