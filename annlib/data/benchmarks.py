"""The three benchmarks of the published rows: Cityscapes, ADE20K, Pascal VOC 2012 + aug.

Names, colours, ids and numbers of pictures are those of the data sets' own development kits.
"""

from dataclasses import replace

from annlib.data.classes import DatasetSpec, spread_colour

CITYSCAPES_CLASSES = (  # name, id in *_labelIds.png, colour; the index is the train id
    ("road", 7, (128, 64, 128)),
    ("sidewalk", 8, (244, 35, 232)),
    ("building", 11, (70, 70, 70)),
    ("wall", 12, (102, 102, 156)),
    ("fence", 13, (190, 153, 153)),
    ("pole", 17, (153, 153, 153)),
    ("traffic light", 19, (250, 170, 30)),
    ("traffic sign", 20, (220, 220, 0)),
    ("vegetation", 21, (107, 142, 35)),
    ("terrain", 22, (152, 251, 152)),
    ("sky", 23, (70, 130, 180)),
    ("person", 24, (220, 20, 60)),
    ("rider", 25, (255, 0, 0)),
    ("car", 26, (0, 0, 142)),
    ("truck", 27, (0, 0, 70)),
    ("bus", 28, (0, 60, 100)),
    ("train", 31, (0, 80, 100)),
    ("motorcycle", 32, (0, 0, 230)),
    ("bicycle", 33, (119, 11, 32)),
)
CITYSCAPES_VOID = (0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30)
CITYSCAPES = DatasetSpec(
    "cityscapes",
    tuple(name for name, _, _ in CITYSCAPES_CLASSES),
    tuple(colour for _, _, colour in CITYSCAPES_CLASSES),
    ignored=CITYSCAPES_VOID,
    label_values=tuple(value for _, value, _ in CITYSCAPES_CLASSES),
    layout="cityscapes",
)
CITYSCAPES_TRAIN_IDS = replace(CITYSCAPES, ignored=(), label_values=())  # *_labelTrainIds.png

# Name and colour (hexadecimal red, green, blue) of label 1, 2, ... 150. Road and skyscraper do
# have the same colour.
ADE20K_CLASSES = """
wall 787878, building b47878, sky 06e6e6, floor 503232, tree 04c803, ceiling 787850, road 8c8c8c,
bed cc05ff, windowpane e6e6e6, grass 04fa07, cabinet e005ff, sidewalk ebff07, person 96053d,
earth 787846, door 08ff33, table ff0652, mountain 8fff8c, plant ccff04, curtain ff3307,
chair cc4603, car 0066c8, water 3de6fa, painting ff0633, sofa 0b66ff, shelf ff0747, house ff09e0,
sea 0907e6, mirror dcdcdc, rug ff095c, field 7009ff, armchair 08ffd6, seat 07ffe0, fence ffb806,
desk 0aff47, rock ff290a, wardrobe 07ffff, lamp e0ff08, bathtub 6608ff, railing ff3d06,
cushion ffc207, base ff7a08, box 00ff14, column ff0829, signboard ff0599, chest of drawers 0633ff,
counter eb0cff, sand a09614, sink 00a3ff, skyscraper 8c8c8c, fireplace fa0a0f,
refrigerator 14ff00, grandstand 1fff00, path ff1f00, stairs ffe000, runway 99ff00, case 0000ff,
pool table ff4700, pillow 00ebff, screen door 00adff, stairway 1f00ff, river 0bc8c8,
bridge ff5200, bookcase 00fff5, blind 003dff, coffee table 00ff70, toilet 00ff85, flower ff0000,
book ffa300, hill ff6600, bench c2ff00, countertop 008fff, stove 33ff00, palm 0052ff,
kitchen island 00ff29, computer 00ffad, swivel chair 0a00ff, boat adff00, bar 00ff99,
arcade machine ff5c00, hovel ff00ff, bus ff00f5, towel ff0066, light ffad00, truck ff0014,
tower ffb8b8, chandelier 001fff, awning 00ff3d, streetlight 0047ff, booth ff00cc,
television receiver 00ffc2, airplane 00ff52, dirt track 000aff, apparel 0070ff, pole 3300ff,
land 00c2ff, bannister 007aff, escalator 00ffa3, ottoman ff9900, bottle 00ff0a, buffet ff7000,
poster 8fff00, stage 5200ff, van a3ff00, ship ffeb00, fountain 08b8aa, conveyer belt 8500ff,
canopy 00ff5c, washer b800ff, plaything ff001f, swimming pool 00b8ff, stool 00d6ff, barrel ff0070,
basket 5cff00, waterfall 00e0ff, tent 70e0ff, bag 46b8a0, minibike a300ff, cradle 9900ff,
oven 47ff00, ball ff00a3, food ffcc00, step ff008f, tank 00ffeb, trade name 85ff00,
microwave ff00eb, pot f500ff, animal ff007a, bicycle fff500, lake 0abed4, dishwasher d6ff00,
screen 00ccff, blanket 1400ff, sculpture ffff00, hood 0099ff, sconce 0029ff, vase 00ffcc,
traffic light 2900ff, tray 29ff00, ashcan ad00ff, fan 00f5ff, pier 4700ff, crt screen 7a00ff,
plate 00ffb8, monitor 005cff, bulletin board b8ff00, shower 0085ff, radiator ffd600, glass 19c2c2,
clock 66ff00, flag 5c00ff
"""
ADE20K_ROWS = [row.strip().rpartition(" ") for row in ADE20K_CLASSES.split(",")]
ADE20K = DatasetSpec(
    "ade20k",
    tuple(name for name, _, _ in ADE20K_ROWS),
    tuple(tuple(bytes.fromhex(colour)) for _, _, colour in ADE20K_ROWS),
    ignored=(0,),
    label_values=tuple(range(1, 151)),
    layout="ade20k",
)

VOC12AUG_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
    *("chair", "cow", "dining table", "dog", "horse", "motorbike", "person", "potted plant"),
    *("sheep", "sofa", "train", "tv monitor"),
)
VOC12AUG = DatasetSpec(
    "voc12aug",
    VOC12AUG_CLASSES,
    tuple(spread_colour(index) for index in range(len(VOC12AUG_CLASSES))),
    layout="voc12aug",
)

BENCHMARKS = (CITYSCAPES, ADE20K, VOC12AUG)
PUBLISHED_PICTURES: dict[str, dict[str, int]] = {
    "cityscapes": {"train": 2975, "val": 500},
    "ade20k": {"train": 20210, "val": 2000},
    "voc12aug": {"train": 10582, "val": 1449},
    "camvid": {"train": 367, "val": 101},
}
