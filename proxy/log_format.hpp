// How a log line looks, whatever bytes it is made of: one line, and in JSON one valid object.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/log.hpp"

namespace weir::proxy {

// Appends `bytes` as a JSON string, quotes included. Control characters are escaped; what is not UTF-8 becomes U+FFFD.
// https://www.rfc-editor.org/rfc/rfc8259#section-7
void append_json_string(std::string& out, std::string_view bytes);

// The members "message" and one for each field, without the braces around them.
[[nodiscard]] std::string json_members(std::string_view message, std::span<const log::Field> fields);
// `message name=value name="two words"`; control characters as \n, \t or \x1b.
[[nodiscard]] std::string text_line(std::string_view message, std::span<const log::Field> fields);

}  // namespace weir::proxy
