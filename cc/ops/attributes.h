// Attributes and passages of documentation that ops have in common, made from the lists of types
// and modes.

#ifndef TF_STN_CC_OPS_ATTRIBUTES_H_
#define TF_STN_CC_OPS_ATTRIBUTES_H_

#include <string>
#include <string_view>

#include "cc/core/interpolation.h"
#include "cc/core/padding.h"
#include "cc/core/pixel_types.h"

namespace tf_stn {

#define TF_STN_SECOND(first, second, ...) \
  names += std::string(names.empty() ? "" : ", ") + quote + (second) + quote;

inline std::string PixelTypeAttribute() {
  std::string names, quote;
  TF_STN_FOR_EACH_PIXEL_TYPE(TF_STN_SECOND)
  return "T: {" + names + "}";
}

inline std::string InterpolationAttribute() {
  std::string names, quote = "'";
  TF_STN_FOR_EACH_INTERPOLATION(TF_STN_SECOND)
  return "interpolation: {" + names + "} = 'linear'";
}

inline std::string PaddingAttribute() {
  std::string names, quote = "'";
  TF_STN_FOR_EACH_PADDING(TF_STN_SECOND)
  return "padding: {" + names + "} = 'zeros'";
}

#undef TF_STN_SECOND

// Returns the documentation of `padding`: what each makes of an image a b c d.
inline std::string PaddingDoc() {
  std::string doc =
      "padding: What lies outside the image.  Which pixel is read for an index outside:\n";
  const auto add = [&](const std::string& name, const char* picture) {
    doc += "  '" + name + "':" + std::string(name.size() < 10 ? 10 - name.size() : 1, ' ') +
           picture + "\n";
  };
#define TF_STN_ADD(Policy, name, picture) add(name, picture);
  TF_STN_FOR_EACH_PADDING(TF_STN_ADD)
#undef TF_STN_ADD
  return doc;
}

}  // namespace tf_stn

#endif  // TF_STN_CC_OPS_ATTRIBUTES_H_
