// Colours for maps: matplotlib's tables, and a picture with a map over it.

const MAGMA = table(
  "00000401000501010601010802010902020b02020d03030f03031204041405041606051806051a07061c08071e" +
  "0907200a08220b09240c09260d0a290e0b2b100b2d110c2f120d31130d34140e36150e38160f3b180f3d19103f" +
  "1a10421c10441d11471e114920114b21114e22115024125325125527125829115a2a115c2c115f2d11612f1163" +
  "31116533106734106936106b38106c390f6e3b0f703d0f713f0f72400f74420f75440f76451077471078491078" +
  "4a10794c117a4e117b4f127b51127c52137c54137d56147d57157e59157e5a167e5c167f5d177f5f187f601880" +
  "621980641a80651a80671b80681c816a1c816b1d816d1d816e1e81701f81721f81732081752181762181782281" +
  "7922827b23827c23827e24828025828125818326818426818627818827818928818b29818c29818e2a81902a81" +
  "912b81932b80942c80962c80982d80992d809b2e7f9c2e7f9e2f7fa02f7fa1307ea3307ea5317ea6317da8327d" +
  "aa337dab337cad347cae347bb0357bb2357bb3367ab5367ab73779b83779ba3878bc3978bd3977bf3a77c03a76" +
  "c23b75c43c75c53c74c73d73c83e73ca3e72cc3f71cd4071cf4070d0416fd2426fd3436ed5446dd6456cd8456c" +
  "d9466bdb476adc4869de4968df4a68e04c67e24d66e34e65e44f64e55064e75263e85362e95462ea5661eb5760" +
  "ec5860ed5a5fee5b5eef5d5ef05f5ef1605df2625df2645cf3655cf4675cf4695cf56b5cf66c5cf66e5cf7705c" +
  "f7725cf8745cf8765cf9785df9795df97b5dfa7d5efa7f5efa815ffb835ffb8560fb8761fc8961fc8a62fc8c63" +
  "fc8e64fc9065fd9266fd9467fd9668fd9869fd9a6afd9b6bfe9d6cfe9f6dfea16efea36ffea571fea772fea973" +
  "feaa74feac76feae77feb078feb27afeb47bfeb67cfeb77efeb97ffebb81febd82febf84fec185fec287fec488" +
  "fec68afec88cfeca8dfecc8ffecd90fecf92fed194fed395fed597fed799fed89afdda9cfddc9efddea0fde0a1" +
  "fde2a3fde3a5fde5a7fde7a9fde9aafdebacfcecaefceeb0fcf0b2fcf2b4fcf4b6fcf6b8fcf7b9fcf9bbfcfbbd" +
  "fcfdbf",
);
const PURPLE_ORANGE = table(
  "7f3b08813c08833d08853e088740088941088b42088d43078f44079145079346079548079749079a4a079c4b07" +
  "9e4c07a04d07a24e07a44f07a65107a85206aa5306ac5406ae5506b05606b25706b45906b65a07b75c07b95e08" +
  "bb5f08bd6109be630ac0640ac2660bc4680bc6690cc76b0cc96d0dcb6e0dcd700ece720fd0730fd27510d47610" +
  "d57811d77a11d97b12db7d12dc7f13de8013e08214e18417e2861ae3881de58a20e68d23e78f27e8912ae9932d" +
  "ea9530eb9733ed9936ee9b39ef9e3cf0a03ff1a242f2a446f3a649f4a84cf6aa4ff7ac52f8ae55f9b158fab35b" +
  "fbb55efcb761fdb965fdba68fdbc6bfdbd6efdbf72fdc175fdc278fdc47bfdc57ffdc782fdc885fdca88fdcc8c" +
  "fecd8ffecf92fed095fed299fed39cfed59ffed7a2fed8a6fedaa9fedbacfeddaffedeb3fee0b6fee1b9fde2bb" +
  "fde3befde4c0fde5c3fce5c5fce6c8fce7cafce8cdfbe9cffbead2fbebd5faecd7faeddafaeedcfaeedff9efe1" +
  "f9f0e4f9f1e6f9f2e9f8f3ecf8f4eef8f5f1f7f6f3f7f7f6f6f6f7f5f5f6f4f4f6f3f3f5f2f2f5f0f1f4eff0f4" +
  "eeeef3ededf3ebecf3eaebf2e9eaf2e8e9f1e7e8f1e5e7f0e4e5f0e3e4efe2e3efe1e2eedfe1eedee0eddddfed" +
  "dcddecdadcecd9dbebd8daebd7d8ead5d6e9d4d4e8d2d3e7d1d1e6cfcfe5cecde4cccbe3cbc9e2c9c8e1c8c6e0" +
  "c6c4dfc5c2dec3c0ddc2bedcc0bddbbfbbdabdb9d9bcb7d8bab5d7b9b3d6b7b1d5b6b0d4b4aed3b3acd2b1aad1" +
  "afa8d0ada6ceaba3cda9a1cba79fcaa59dc8a39bc7a198c59f96c49d94c29b92c19990bf988dbe968bbc9489bb" +
  "9287b99085b88e82b68c80b58a7eb3887cb2867ab08477af8275ad8073ac7e70ab7d6da97b6aa87967a67764a5" +
  "7661a4745ea2725ba170589f6f559e6d529c6b4f9b6a4c9a684998664697644395634094613d935f3a915d3790" +
  "5c348e5a318d582e8c572b8a5528895326875225845023824f22804d207d4c1f7b4a1d78491c76471a74451871" +
  "44176f42156c41146a3f12683e11653c0f633b0e61390c5e380b5c3609593508573306553205523003502f024d" +
  "2d004b",
);

function table(hex) {
  return Array.from({ length: 256 }, (_, i) =>
    [0, 2, 4].map((at) => parseInt(hex.slice(6 * i + at, 6 * i + at + 2), 16)),
  );
}

/** [red, green, blue] of a value between 0 and 1, in magma; in PuOr if `signed`. */
export function colour(value, signed = false) {
  const colours = signed ? PURPLE_ORANGE : MAGMA;
  return colours[Math.min(Math.max(Math.floor(value * 256), 0), 255)];
}

/**
 * A map over a greyscale picture, as `plots.overlay` draws it: ImageData of the picture's size.
 *
 * picture: ImageData. values: the map at the picture's size. low, high: ends of the colour scale.
 * opacity: of the map, 0 to 1. signed: orange below zero, purple above.
 */
export function overlay(picture, values, { low = 0, high, opacity = 0.65, signed = false }) {
  const shown = new ImageData(picture.width, picture.height);
  const span = Math.max(high - low, 1e-6);
  for (let i = 0; i < values.length; i++) {
    const [red, green, blue] = picture.data.subarray(4 * i, 4 * i + 3);
    const grey = 0.299 * red + 0.587 * green + 0.114 * blue;
    const over = colour((values[i] - low) / span, signed);
    for (let c = 0; c < 3; c++)
      shown.data[4 * i + c] = grey * (1 - opacity) + over[c] * opacity;
    shown.data[4 * i + 3] = 255;
  }
  return shown;
}
