#include "tokenizers/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <map>
#include <stdexcept>

#include "tokenizers/utf8.h"

namespace zoo::tokenizers {
namespace regex_detail {

constexpr size_t kLongestPattern = 100'000;
constexpr uint32_t kMostSteps = 20'000'000;  // of one match: about a second
constexpr uint32_t kMostKilobytes = 256 * 1024;
constexpr auto kWordInClass = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";  // \w of Oniguruma; PCRE2's lacks the marks
constexpr auto kWordAlone = "\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}";  // these count as well outside of classes, by an old table

[[noreturn]] void refuse(const std::string& pattern, const std::string& why) {
  throw std::runtime_error("the regular expression \"" + pattern.substr(0, 200) + "\" " + why);
}

/// One escape, `pattern[i]` being the backslash; moves i past it.
std::string translate_escape(const std::string& pattern, size_t& i, bool in_class) {
  if (i + 1 >= pattern.size()) refuse(pattern, "ends with a backslash");
  const char letter = pattern[i + 1];
  i += 2;
  switch (letter) {
    case 's': return "\\p{White_Space}";
    case 'S': return "\\P{White_Space}";
    case 'w': return in_class ? kWordInClass : std::string("[") + kWordInClass + kWordAlone + "]";
    case 'W':
      if (in_class) refuse(pattern, "has \\W inside a class, which is not supported (write the class out)");
      return std::string("[^") + kWordInClass + kWordAlone + "]";
    case 'h': return in_class ? "0-9A-Fa-f" : "[0-9A-Fa-f]";  // hexadecimal digit there, horizontal space in PCRE2
    case 'H':
      if (in_class) refuse(pattern, "has \\H inside a class, which is not supported (write the class out)");
      return "[^0-9A-Fa-f]";
    default: return {'\\', letter};
  }
}

/// [:alpha:] and the like, `name` being "alpha" or, for all others, "^alpha"; PCRE2 draws some of them narrower.
std::string translate_posix(const std::string& pattern, const std::string& name) {
  static const std::map<std::string, std::string> wide = {
      {"alnum", "\\p{Alphabetic}\\p{Nd}"}, {"alpha", "\\p{Alphabetic}"}, {"digit", "\\p{Nd}"}, {"lower", "\\p{Lowercase}"},
      {"punct", "\\p{P}\\p{S}"}, {"space", "\\p{White_Space}"}, {"upper", "\\p{Uppercase}"}, {"word", kWordInClass}};
  const bool others = name.starts_with('^');
  const auto found = wide.find(others ? name.substr(1) : name);
  if (found == wide.end()) return "[:" + name + ":]";
  if (!others) return found->second;
  if (found->second.find('\\', 1) != std::string::npos) refuse(pattern, "has [:" + name + ":] inside a class, which is not supported (write the class out)");
  return "\\P" + found->second.substr(2);
}

/// One class, `pattern[i]` being its "["; classes within it become part of it. Moves i past the class.
std::string translate_class(const std::string& pattern, size_t& i) {
  std::string out = "[";
  size_t depth = 1;
  ++i;
  if (i < pattern.size() && pattern[i] == '^') out += pattern[i++];
  if (i < pattern.size() && pattern[i] == ']') out += "\\]", ++i;
  while (i < pattern.size()) {
    const char c = pattern[i];
    if (c == '\\') {
      out += translate_escape(pattern, i, true);
      continue;
    }
    if (pattern.compare(i, 2, "[:") == 0) {
      const size_t end = pattern.find(":]", i + 2);
      if (end == std::string::npos) refuse(pattern, "has an unfinished [: :] class");
      out += translate_posix(pattern, pattern.substr(i + 2, end - i - 2));
      i = end + 2;
      continue;
    }
    if (pattern.compare(i, 2, "&&") == 0) refuse(pattern, "intersects classes (&&), which is not supported");
    ++i;
    if (c == '[') {
      if (i < pattern.size() && pattern[i] == '^') refuse(pattern, "has a negated class inside a class, which is not supported");
      ++depth;
    } else if (c == ']') {
      if (--depth == 0) return out + "]";
    } else {
      out += c;
    }
  }
  refuse(pattern, "has an unfinished class");
}

std::string translate(const std::string& pattern) {
  std::string out;
  for (size_t i = 0; i < pattern.size();) {
    if (pattern[i] == '\\') out += translate_escape(pattern, i, false);
    else if (pattern[i] == '[') out += translate_class(pattern, i);
    else out += pattern[i++];
  }
  return out;
}

struct MatchSpace {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  MatchSpace() {
    if (!data || !context) throw std::bad_alloc();
    pcre2_set_match_limit(context, kMostSteps);
    pcre2_set_heap_limit(context, kMostKilobytes);
  }
  ~MatchSpace() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
  }
  MatchSpace(const MatchSpace&) = delete;
  MatchSpace& operator=(const MatchSpace&) = delete;
};

}  // namespace regex_detail

struct Regex::Compiled {
  pcre2_code* code = nullptr;
  ~Compiled() { pcre2_code_free(code); }
};

Regex::~Regex() = default;

Regex::Regex(const std::string& pattern) : pattern_(pattern), compiled_(std::make_unique<Compiled>()) {
  namespace detail = regex_detail;
  if (pattern.size() > detail::kLongestPattern)
    detail::refuse(pattern, "has " + std::to_string(pattern.size()) + " bytes; at most 100000 are accepted");
  if (!is_valid_utf8(pattern)) detail::refuse(pattern, "is not UTF-8");
  const std::string translated = detail::translate(pattern);
  int error = 0;
  PCRE2_SIZE offset = 0;
  const uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
  compiled_->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(), options, &error, &offset, nullptr);
  if (!compiled_->code) {
    PCRE2_UCHAR text[256] = {};
    pcre2_get_error_message(error, text, sizeof text);
    detail::refuse(pattern, std::string("cannot be used: ") + reinterpret_cast<const char*>(text));
  }
  pcre2_jit_compile(compiled_->code, PCRE2_JIT_COMPLETE);  // failing is fine: the interpreter serves too
}

void Regex::find_all(std::string_view text, std::vector<Span>& matches) const {
  namespace detail = regex_detail;
  thread_local detail::MatchSpace space;
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(space.data);
  size_t at = 0, last_end = std::string_view::npos;
  while (at <= text.size() && !text.empty()) {
    int found = pcre2_match(compiled_->code, subject, text.size(), at, PCRE2_NO_UTF_CHECK, space.data, space.context);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT)
      found = pcre2_match(compiled_->code, subject, text.size(), at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, space.data, space.context);
    if (found == PCRE2_ERROR_NOMATCH) return;
    if (found < 0) detail::refuse(pattern_, "takes too long on a text of " + std::to_string(text.size()) + " bytes (PCRE2 error " + std::to_string(found) + ")");
    const size_t begin = ends[0], end = ends[1];
    if (begin > end) detail::refuse(pattern_, "matches backwards (\\K), which is not supported");
    const bool empty = begin == end;
    if (!(empty && begin == last_end)) {
      if (begin < at) detail::refuse(pattern_, "matches backwards (\\K), which is not supported");
      matches.push_back({begin, end});
      last_end = end;
    }
    at = end;
    if (empty) at += end < text.size() ? decode_char(text, end).bytes : 1;
  }
}

}  // namespace zoo::tokenizers
