// Reads JSON as the artifact holds it: what a value is not, it has none of.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

struct Json {
  double number = 0;  // 1 for true
  std::string text;
  std::vector<Json> items;
  std::map<std::string, Json> members;

  const Json& operator[](const std::string& name) const { return members.at(name); }
};

class JsonReader {
 public:
  explicit JsonReader(const std::string& source) : source_(source) {}

  Json value() {
    Json found;
    if (next() == '{') {
      for (++at_; next() != '}'; skip(',')) {
        const std::string name = string();
        if (next() != ':') fail();
        ++at_;
        found.members[name] = value();
      }
      ++at_;
    } else if (next() == '[') {
      for (++at_; next() != ']'; skip(',')) found.items.push_back(value());
      ++at_;
    } else if (next() == '"') {
      found.text = string();
    } else {
      const std::size_t end = source_.find_first_of(",]} \t\r\n", at_);
      const std::string word = source_.substr(at_, end - at_);
      if (word.empty()) fail();
      found.number = word == "true" ? 1 : std::strtod(word.c_str(), nullptr);
      at_ += word.size();
    }
    return found;
  }

 private:
  char next() {
    at_ = source_.find_first_not_of(" \t\r\n", at_);
    if (at_ >= source_.size()) fail();
    return source_[at_];
  }

  void skip(char letter) {
    if (next() == letter) ++at_;
  }

  std::string string() {
    if (next() != '"') fail();
    std::string text;
    for (++at_; source_.at(at_) != '"'; ++at_) {
      if (source_[at_] != '\\') {
        text += source_[at_];
      } else if (source_.at(++at_) == 'u') {
        std::uint32_t code = hex();
        if (code >> 10 == 0x36) {  // the first half of a pair
          at_ += 2;
          code = 0x10000 + ((code & 0x3ff) << 10) + (hex() & 0x3ff);
        }
        append(text, code);
      } else {
        const std::string::size_type kind = std::string("bfnrt").find(source_[at_]);
        text += kind == std::string::npos ? source_[at_] : "\b\f\n\r\t"[kind];
      }
    }
    ++at_;
    return text;
  }

  std::uint32_t hex() {
    const std::string digits = source_.substr(at_ + 1, 4);
    at_ += 4;
    return static_cast<std::uint32_t>(std::strtoul(digits.c_str(), nullptr, 16));
  }

  static void append(std::string& text, std::uint32_t code) {  // as UTF-8
    if (code < 0x80) {
      text += static_cast<char>(code);
      return;
    }
    const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    text += static_cast<char>((0xff << (7 - more) & 0xff) | code >> 6 * more);
    for (int left = more - 1; left >= 0; --left) text += static_cast<char>(0x80 | (code >> 6 * left & 0x3f));
  }

  [[noreturn]] static void fail() { throw std::runtime_error("parity.json is no JSON"); }

  const std::string& source_;
  std::size_t at_ = 0;
};
