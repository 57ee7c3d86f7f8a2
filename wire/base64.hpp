// Base64 (RFC 4648, section 4): padded, no white space.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace weir::wire {

[[nodiscard]] std::string base64_encode(std::string_view bytes);
// Nothing for a length that is no multiple of four, a foreign character or padding elsewhere than at the end.
[[nodiscard]] std::optional<std::string> base64_decode(std::string_view text);

}  // namespace weir::wire
