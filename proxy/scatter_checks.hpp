// What must be true of the shards' answers before a row of theirs reaches the client. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/deadline.hpp"
#include "router/scatter_plan.hpp"
#include "wire/messages.hpp"

namespace weir::proxy {

using Fields = std::vector<wire::FieldDescription>;

inline constexpr std::uint32_t kFirstUserType = 16384;   // FirstNormalObjectId: from here on OIDs are one database's

// Why two answers are not of one shape in their first `columns` columns; none: they are. Table OIDs differ between databases.
[[nodiscard]] std::optional<std::string> differ(const Fields& a, const Fields& b, std::size_t columns);
// Do the columns of `told` come from the same tables? A column of none is the same wherever it comes from. Of one database.
[[nodiscard]] bool same_origin(const Fields& told, const Fields& now);
// The plan's refusal, where shards do not fit together.
[[nodiscard]] Error not_alike(const router::ScatterPlan& plan, std::string reason);
// The first field in binary format whose type's OID belongs to one database: what is in it may be numbered so, too. As text it is written by
// names, and the column's own OID is compared. None: there is none.
[[nodiscard]] const wire::FieldDescription* find_binary_user_type(const Fields& fields);

// pg_type.typarray of a built-in type; 0: it has none, or is not known here.
[[nodiscard]] std::uint32_t array_type_of(std::uint32_t type);
// Why a gathered column would not be on the home shard what it was on its own; none: it will be.
[[nodiscard]] std::optional<std::string> cannot_be_gathered(const wire::FieldDescription& field, const router::GatheredColumn& column);

// The client's format codes for `visible` columns, one each, and binary for the `hidden` ones behind them. As Bind reads them: none is text
// for all, one is for all.
[[nodiscard]] std::vector<std::uint16_t> formats_with_hidden(std::span<const std::uint16_t> asked, std::size_t visible, std::size_t hidden);

// In UTF-8, as a server counts them.
[[nodiscard]] std::size_t characters_in(std::string_view text);
// Appends an ErrorResponse's body with its place in the text moved by so many characters.
void append_with_position(ByteBuffer& out, ByteView body, std::size_t shift);
// Appends an ErrorResponse's (or NoticeResponse's) body without the place in the text, which was not the client's.
void append_without_position(ByteBuffer& out, ByteView body);

// A moment as now() would show it: "2026-11-21 13:31:35.123456+00".
[[nodiscard]] std::string timestamp_text(std::chrono::system_clock::time_point at);

}  // namespace weir::proxy
