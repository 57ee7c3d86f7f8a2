// What the text of a function in SQL or PL/pgSQL tells about the session state that it may leave behind. Read word by word, not parsed: any
// doubt counts as a trace.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace weir::schema {

struct FunctionBody {
  bool leaves_trace = false;          // SET, set_config(..., false), EXECUTE, temporary tables, LISTEN ... in the text itself
  bool computes_setting = false;      // set_config() with a name that is neither a literal nor a variable
  std::vector<std::string> words;     // in lower case, once each: what it may call and touch
};

[[nodiscard]] FunctionBody look_into(std::string_view source);

}  // namespace weir::schema
