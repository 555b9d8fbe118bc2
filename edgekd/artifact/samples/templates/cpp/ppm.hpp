// Images as PPM and PGM files. Your app has its own decoder; what it gives must be the same: rows of RGB from the top.
#pragma once

#include <sstream>
#include <string>

#include "npy.hpp"

using Image = Array<std::uint8_t>;  // (height, width, channels)

// Grey becomes RGB, or RGB grey (with Pillow's weights, those of ITU-R 601-2), where the model takes that.
inline Image decode_ppm(const std::string& data, std::int64_t channels) {
  std::istringstream stream(data);
  std::string kind;
  std::int64_t width = 0, height = 0, most = 0;
  stream >> kind;
  while ((stream >> std::ws).peek() == '#') stream.ignore(data.size(), '\n');
  stream >> width >> height >> most;
  const std::int64_t have = kind == "P6" ? 3 : 1;
  const std::size_t start = static_cast<std::size_t>(stream.tellg()) + 1;
  if (!stream || (kind != "P5" && kind != "P6") || most != 255 || width < 1 || height < 1 ||
      width > 65535 || height > 65535 || data.size() < start + static_cast<std::size_t>(width * height * have)) {
    throw std::runtime_error("the image is no binary PPM or PGM of 255 levels");
  }
  Image image{{height, width, channels}, std::vector<std::uint8_t>(static_cast<std::size_t>(height * width * channels))};
  const auto* source = reinterpret_cast<const unsigned char*>(data.data()) + start;
  for (std::int64_t at = 0; at < width * height; ++at, source += have) {
    for (std::int64_t channel = 0; channel < channels; ++channel) {
      const bool greyed = channels == 1 && have == 3;
      image.values[at * channels + channel] = static_cast<std::uint8_t>(
          greyed ? (source[0] * 19595 + source[1] * 38470 + source[2] * 7471 + 0x8000) >> 16
                 : source[have == 1 ? 0 : channel]);
    }
  }
  return image;
}

inline std::string encode_ppm(const Image& image) {
  const std::string kind = image.shape.at(2) == 1 ? "P5 " : "P6 ";
  const std::string header = kind + std::to_string(image.shape[1]) + " " + std::to_string(image.shape[0]) + " 255\n";
  return header + std::string(image.values.begin(), image.values.end());
}
