// A self-contained HTML page: headings, tables, drawings, pictures; one file, no script, nothing loaded from elsewhere.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace zoo::app {

std::string escape_html(std::string_view text);  // also for attributes
std::string base64(std::string_view bytes);

class Page {
 public:
  explicit Page(std::string title);
  void heading(const std::string& text);
  void paragraph(const std::string& text);
  void raw(const std::string& html);  // trusted: made by this program, texts in it already escaped
  void facts(const std::vector<std::pair<std::string, std::string>>& rows);  // two columns: name, value
  // The first column is text, the others are figures.
  void table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows);
  // Tiles with large figures.
  void figures(const std::vector<std::pair<std::string, std::string>>& tiles);  // value, caption
  std::string html() const;

 private:
  std::string title_, body_;
};

}  // namespace zoo::app
