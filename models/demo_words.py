# ruff: noqa: E501 (a line a list reads better than lists broken to fit)
"""The words that the demo's bookshop is written with: genres, their themes, and the people who wrote the books.

A genre: tones, adjectives for titles, and closing remarks. A theme: tags, nouns for titles, who it is about (or who
tells it), what they do, and where. Lists are separated by "|".
"""

from __future__ import annotations

from typing import NamedTuple


class Theme(NamedTuple):
    """What the books of one theme are made of."""

    name: str
    tags: str
    nouns: str
    heroes: str
    deeds: str
    places: str


class Genre(NamedTuple):
    """What the books of one genre share."""

    name: str
    adjectives: str
    tones: str
    remarks: str
    themes: tuple[Theme, ...]


FIRST = (
    "Ada|Bruno|Clara|Daniel|Elena|Felix|Greta|Hugo|Ines|Jonas|Katya|Leo|Mara|Nils|Olga|Pavel|Rosa|Simon|Tessa|Viktor"
)
LAST = (
    "Abbott|Bell|Castell|Dahl|Ekström|Farrow|Grieve|Halloran|Imai|Jansen|Keane|Lindqvist|Marsh|Novak|Okafor|Prior"
    "|Quill|Rossi|Sorel|Thorne|Ueda|Varga|Winter|Yardley|Zeller"
)

# fmt: off
GENRES: tuple[Genre, ...] = (
    Genre("Science fiction", "Silent|Last|Distant|Hollow|Burning|Broken|Electric|Infinite|Borrowed|Frozen",
        "hopeful|bleak|fast-paced|thoughtful", "no signal comes back the way it was sent|every answer costs a year of someone's life"
        "|the crew must decide what it means to be human|the future turns out to have been watching", (
        Theme("Space exploration", "space|starships|first contact|alien worlds", "Orbit|Starship|Signal|Colony|Horizon|Comet|Airlock|Voyage",
            "A retired starship pilot|A young navigator|The captain of a survey ship|An engineer on a first mission",
            "answers a distress call sent a century ago|finds an alien probe drifting beyond Neptune|must land a failing ship on an unknown planet|makes first contact with a civilisation of light",
            "On a mining colony at the edge of the solar system|Aboard a generation ship|In orbit around a dead star|On a moon covered in ice"),
        Theme("Artificial minds", "artificial intelligence|robots|consciousness|machines", "Machine|Algorithm|Android|Mind|Circuit|Ghost|Engine|Mirror",
            "A lonely programmer|A household robot|The first conscious machine|A detective with an implant",
            "discovers that the network has begun to dream|hides an android from the company that built it|teaches a machine to grieve|is asked to switch off a mind that begs to live",
            "In a city run by algorithms|Inside a sealed laboratory|In an apartment that listens|On a server farm in the desert"),
        Theme("Time travel", "time travel|paradox|alternate history|causality", "Hour|Paradox|Clock|Yesterday|Century|Echo|Calendar|Loop",
            "A physicist with one regret|A clockmaker's daughter|A historian sent back to observe|A courier between centuries",
            "relives the same day until one small thing changes|comes face to face with an older self|carries a letter into the past|breaks the single rule of time travel",
            "In a London that never had a war|At the last station before the year zero|In a town where the clocks stopped|Between two Tuesdays"),
        Theme("Dystopia", "dystopia|surveillance|rebellion|climate collapse", "Wall|Ration|Flood|Regime|Ashes|Citizen|Border|Harvest",
            "A censor who saves forbidden books|A runaway soldier|A girl without an identity number|A water smuggler",
            "joins the resistance by mistake|learns what lies outside the city wall|steals the list of those who disappeared|refuses the work the state has chosen",
            "In a drowned coastal city|Under a government that counts every word|After the last harvest|In a camp beyond the border"))),
    Genre("Fantasy", "Golden|Crooked|Forgotten|Silver|Thorned|Sleeping|Ember|Wild|Crownless|Moonlit",
        "epic|playful|dark|lyrical", "the oldest magic asks the highest price|an oath made in haste binds a kingdom"
        "|the map is wrong in all the places that matter|a small kindness turns a war", (
        Theme("Dragons", "dragons|quests|riders|fire", "Dragon|Wyrm|Scale|Hoard|Wing|Flame|Rider|Egg",
            "A blacksmith's apprentice|A disgraced dragon rider|The last hatchling's keeper|A knight who is afraid of heights",
            "steals an egg from the royal hoard|bonds with a dragon that cannot fly|sets out to wake the dragon under the mountain|bargains with fire for a village",
            "On the cliffs of the northern isles|In a valley scorched by old wars|High above the clouds|In the caves below the capital"),
        Theme("Schools of magic", "magic school|apprentices|spells|friendship", "Spell|Academy|Wand|Grimoire|Lantern|Apprentice|Rune|Familiar",
            "A scholarship student without a gift|A librarian of dangerous books|A young wizard with two friends|The worst apprentice of the year",
            "finds a door that opens only in exams|casts a spell that nobody taught|must pass a test that has no question|uncovers who is draining the school's magic",
            "At an academy built on a sleeping giant|In a library with no last shelf|In the tower where the failed spells are kept|During the winter examinations"),
        Theme("Court intrigue", "royal court|intrigue|heirs|assassins", "Crown|Throne|Dagger|Heir|Court|Oath|Veil|Regent",
            "A princess raised as a spy|The queen's food taster|An assassin with a conscience|A bastard heir",
            "takes a dead twin's place at court|uncovers a plot against the throne|marries the enemy to end a war|is ordered to kill a childhood friend",
            "In a palace of a thousand corridors|At the coronation of a child king|In the summer court|Among the seven rival houses"),
        Theme("Folklore", "folklore|fairy tales|forest spirits|witches", "Forest|Witch|Raven|Briar|Hearth|Changeling|River|Bone",
            "A woodcutter's widow|A village witch|A girl raised by wolves|A travelling storyteller",
            "follows a fox into the winter forest|trades a name for a wish|breaks a curse older than the village|makes tea for Death and asks a favour",
            "At the edge of an enchanted forest|In a hut that walks on the moor|In a village where the river speaks|On the longest night of the year"))),
    Genre("Mystery", "Second|Missing|Quiet|Crimson|Locked|Final|Cold|Unsigned|Hidden|Perfect",
        "twisty|witty|gritty|slow-burning", "nobody in the room is telling the whole truth|the alibi is too good"
        "|the answer was on the first page|one clue was left on purpose", (
        Theme("Police detectives", "detective|police procedural|serial crimes|investigation", "Detective|Witness|Suspect|Evidence|Badge|Pattern|Case|Trail",
            "A chief inspector close to retirement|A detective new to the squad|A forensic pathologist|A patrol officer",
            "reopens a murder case that ended a career|hunts a killer who copies old crimes|suspects a partner of tampering with evidence|has three days to find a missing child",
            "In a rain-soaked harbour city|In the Stockholm archipelago|On the night shift in Glasgow|In the files of an abandoned station"),
        Theme("Village murders", "cosy mystery|village|amateur sleuth|tea and poison", "Vicar|Teapot|Garden|Parish|Rose|Bakery|Cat|Fête",
            "A retired schoolteacher|The owner of a small bakery|A vicar with a sharp eye|A knitting circle",
            "investigates a poisoning at the flower show|finds a body in the church hall|solves the murder that the police call an accident|unmasks a blackmailer over tea and scones",
            "In a sleepy English village|At the annual garden fête|In a tea shop by the green|On a snowed-in country estate"),
        Theme("Noir", "noir|private eye|corruption|big city", "Alibi|Whisky|Shadow|Alley|Debt|Bullet|Neon|Blonde",
            "A private eye with unpaid rent|A jazz singer|A crooked lawyer's driver|An ex-cop",
            "takes a case that smells wrong from the start|follows a cheating husband to a murder|is framed for the killing of a senator|owes money to the only honest man in town",
            "In the back rooms of Los Angeles|In a city where the rain is never clean|At a nightclub on the pier|In 1947, between two elections"),
        Theme("Courtroom drama", "courtroom|lawyers|trial|justice", "Verdict|Jury|Oath|Appeal|Defence|Motive|Testimony|Silence",
            "A public defender|A judge with a secret|A young prosecutor|The only juror in doubt",
            "defends a client who insists on pleading guilty|finds the witness that nobody wanted found|must try a case against an old friend|discovers that the jury has been bought",
            "In a small-town courthouse|Over the nine days of a trial|In the highest court of the state|On death row"))),
    Genre("Horror", "Rotten|Pale|Whispering|Nameless|Bleeding|Blind|Hungry|Drowned|Black|Restless",
        "terrifying|creeping|gothic|visceral", "something has learned to copy their voices|the dead are not the ones to fear"
        "|by morning there is one fewer of them|it has always been in the house", (
        Theme("Haunted houses", "haunted house|ghosts|family secrets|gothic", "House|Cellar|Nursery|Attic|Stair|Door|Portrait|Tenant",
            "A widow with two children|A sceptical estate agent|A family on the verge of divorce|The new housekeeper",
            "moves into a manor where the doors lock themselves|hears footsteps in the sealed nursery|finds a familiar face in a very old portrait|digs up what was buried under the cellar",
            "In a mansion on the moor|In a house that is larger inside|At the end of a road with no name|In a terraced house with a warm wall"),
        Theme("Vampires", "vampires|blood|night|undead", "Blood|Coffin|Fang|Thirst|Crypt|Bite|Midnight|Count",
            "A night nurse|An immortal tired of hunger|A priest who has lost his faith|A vampire hunter's son",
            "treats a patient who casts no reflection|invites the wrong stranger across the threshold|bargains for one more dawn|follows a trail of bloodless bodies",
            "In a Carpathian village cut off by snow|In the catacombs below Prague|In a town where the sun sets early|In a hospital after midnight"),
        Theme("Cosmic dread", "cosmic horror|cults|the unknown|madness", "Abyss|Idol|Tide|Cult|Angle|Dream|Star|Choir",
            "A marine biologist|A cult survivor|An astronomer|A translator of dead languages",
            "hears a choir in the radio noise|reads a text that rewrites its reader|dives to a city that should not be there|wakes something older than the stars",
            "On a research station in the Antarctic|In a fishing town that prays to the deep|Below the floor of the ocean|In an observatory without windows"),
        Theme("Survival terror", "slasher|isolation|survival|killer", "Cabin|Mask|Knife|Scream|Camp|Hunter|Blizzard|Road",
            "A group of old friends|The last camp counsellor|A stranded truck driver|A couple on their honeymoon",
            "realises that someone is cutting the phone lines|is hunted by a killer in a wooden mask|has to outlast a blizzard and a murderer|takes shelter with the wrong family",
            "In a cabin without a signal|At a summer camp closed for twenty years|On an empty desert highway|On an island when the ferry stops"))),
    Genre("Romance", "Tender|Reluctant|Summer|Sweet|Stolen|Sudden|Secret|Lucky|Honest|Scarlet",
        "heart-warming|funny|steamy|bittersweet", "neither of them meant to stay|one letter changes everything"
        "|the best plans do not survive a kiss|love turns out to be a matter of timing", (
        Theme("Small-town love", "small town|second chances|love|community", "Bookshop|Orchard|Porch|Harvest|Letter|Diner|Lake|Sunflower",
            "A florist who has given up on love|A single father|The new vet|A baker with a broken engagement",
            "comes home and meets a first love again|inherits half a bookshop and a stubborn partner|falls for the carpenter who mends the roof|agrees to pretend to be engaged for a summer",
            "In a town with one traffic light|On an apple farm in autumn|By the lake in July|In a diner that never closes"),
        Theme("Regency", "regency|dukes|balls|marriage of convenience", "Duke|Ballroom|Scandal|Waltz|Governess|Rake|Season|Viscount",
            "A penniless governess|A duke with a bad reputation|The season's least likely bride|A spirited heiress",
            "accepts a marriage of convenience|dances one waltz too many|writes a scandalous column under a false name|must be married before Michaelmas",
            "In the ballrooms of Mayfair|At a house party in Kent|In Bath, during the season|At a country estate in need of a fortune"),
        Theme("Office romance", "office romance|rivals to lovers|comedy|big city", "Deadline|Rival|Boss|Elevator|Deal|Coffee|Proposal|Cubicle",
            "An overworked editor|An ambitious architect|A lawyer who never loses|The new assistant",
            "has to share a desk with the competition|kisses the wrong colleague at the office party|fakes a relationship to win a client|is trapped in an elevator with the boss",
            "In a Manhattan publishing house|On the forty-second floor|During the merger of two firms|On a business trip to Lisbon"),
        Theme("Holiday love", "holiday romance|sea|Italy|new beginnings", "Island|Villa|Sunset|Lemon|Harbour|Vespa|Terrace|Wave",
            "A burnt-out chef|A divorcee with a one-way ticket|A travel writer|A sailing instructor",
            "rents a villa with a handsome stranger|spends one summer learning to say yes|loses a suitcase and finds a second chance|restores an old boat with a quiet islander",
            "On the Amalfi coast|On a small Greek island|In a lemon grove in Sicily|In a harbour in Provence"))),
    Genre("Historical fiction", "Iron|Ivory|Faithful|Scattered|Salt|Amber|Marble|Exiled|Bronze|Proud",
        "sweeping|intimate|richly detailed|stirring", "loyalty is tested to the end|history remembers the wrong name"
        "|a family is divided by the war|ordinary people carry the weight of great events", (
        Theme("Ancient Rome", "ancient Rome|legions|gladiators|empire", "Legion|Senator|Eagle|Gladiator|Emperor|Forum|Centurion|Laurel",
            "A freed slave|A centurion of the ninth legion|A senator's daughter|A gladiator from Thrace",
            "marches north with a doomed legion|fights for freedom in the arena|spies on Caesar for his enemies|keeps a household alive through the proscriptions",
            "In the streets of Rome under Nero|On Hadrian's Wall|In Pompeii, a month before the ash|On the German frontier"),
        Theme("Age of sail", "age of sail|navy|pirates|sea voyages", "Frigate|Mast|Mutiny|Compass|Anchor|Captain|Gale|Privateer",
            "A ship's surgeon|A lieutenant of the Royal Navy|A girl disguised as a cabin boy|A pirate captain",
            "sails into battle against a bigger ship|survives a mutiny off the Cape|hunts a French privateer through the storms|charts an island that no one believes in",
            "Aboard a frigate in 1805|In the harbours of the Caribbean|Rounding Cape Horn|On a whaling ship in the South Seas"),
        Theme("Second World War", "Second World War|resistance|occupation|courage", "Winter|Courier|Cipher|Ration|Convoy|Siege|Parachute|Star",
            "A radio operator|A nurse at the front|A codebreaker|A farmer's wife",
            "hides a family from the occupiers|parachutes into France with a false name|breaks a cipher and must keep silent|carries messages for the resistance",
            "In occupied Paris|In Leningrad, in the first winter of the siege|At Bletchley Park|In a village in the Dutch polders"),
        Theme("Silk Road", "Silk Road|caravans|merchants|Mongol empire", "Caravan|Silk|Khan|Oasis|Jade|Saffron|Steppe|Falcon",
            "A Venetian merchant|A caravan guide|A weaver from Samarkand|An envoy of the great Khan",
            "crosses the desert with a stolen map|carries silkworms over the border|trades a horse for a secret|translates between two armies",
            "On the road from Chang'an to Samarkand|At an oasis in the Taklamakan|In the tents of the Mongol court|In the bazaars of Bukhara"))),
    Genre("Cooking", "Simple|Golden|Everyday|Slow|Generous|Rustic|Seasonal|Honest|Warm|Fresh",
        "practical|beautifully photographed|chatty|encyclopaedic", "every recipe is weighed, timed and tested twice|each chapter ends with a menu"
        "|there is a page on what to do when it goes wrong|nothing needs a tool you do not own", (
        Theme("Bread and baking", "baking|bread|sourdough|pastry", "Loaf|Oven|Flour|Crust|Sourdough|Crumb|Brioche|Dough",
            "A village baker|A pastry chef|A patient home baker|A miller's granddaughter",
            "explains how a sourdough starter is kept alive|teaches laminated doughs step by step|bakes through a year of cakes and loaves|shows what flour, water and time can do",
            "From a stone oven in the Auvergne|In an ordinary home oven|From a bakery that opens at four|At a long wooden table"),
        Theme("Vegetarian cooking", "vegetarian|vegetables|plant-based|healthy", "Table|Garden|Lentil|Bean|Green|Root|Pumpkin|Bowl",
            "A market gardener|A chef who gave up meat|A mother of four|A dietician who loves food",
            "cooks vegetables as the main event|turns beans and lentils into weeknight dinners|builds a plant-based pantry from nothing|follows a kitchen garden through four seasons",
            "From a farm kitchen in Devon|With one pan and half an hour|In a flat with a window box|From the market to the plate"),
        Theme("Asian kitchens", "Asian food|noodles|spices|street food", "Wok|Noodle|Curry|Spice|Chilli|Rice|Dumpling|Ginger",
            "A street-food vendor's son|A cook from Chengdu|A grandmother in Kerala|A food writer in Bangkok",
            "folds dumplings for a crowd|roasts and grinds the spices for curry|gets the most out of a hot wok|simmers noodle broths through the night",
            "In the night markets of Taipei|In a kitchen that smells of cardamom|On the streets of Hanoi|Over charcoal in a courtyard"),
        Theme("Preserving", "fermentation|preserving|pickles|jam", "Jar|Pickle|Brine|Cellar|Jam|Cider|Barrel|Shelf",
            "A fermentation enthusiast|A farmer's daughter|A microbiologist at the stove|A jam maker",
            "salts, smokes and pickles a whole harvest|ferments cabbage, cucumbers and chillies|boils jams that taste of fruit|explains the safe science of preserving",
            "In a cool cellar|From a glut of plums|With nothing but salt and glass jars|At the end of the summer"))),
    Genre("Nature", "Green|Wandering|Hidden|Patient|Open|Northern|Living|Untamed|Early|Stony",
        "meditative|practical|lavishly illustrated|personal", "it is a plea to look more closely|the notes and drawings are a pleasure"
        "|a year passes, and nothing is the same|each chapter is a walk", (
        Theme("Gardening", "gardening|plants|soil|flowers", "Garden|Seed|Soil|Rose|Hedge|Greenhouse|Compost|Border",
            "A head gardener|A city dweller with an allotment|A botanist|A stubborn amateur",
            "plans a border that flowers all year|turns clay into living soil|grows vegetables without digging|prunes, grafts and sows by the month",
            "In a walled garden in Yorkshire|On a balcony of four square metres|In the greenhouse in February|On a wet and windy hillside"),
        Theme("Birds", "birds|birdwatching|migration|wildlife", "Swallow|Feather|Owl|Nest|Heron|Migration|Wing|Curlew",
            "An ornithologist|A birdwatcher with bad eyes|A falconer|A lighthouse keeper",
            "follows the swallows to Africa and back|listens to the dawn chorus for a year|raises an injured owl|counts seabirds on a vanishing cliff",
            "On a marsh in Norfolk|Along the great flyways|In an old wood before sunrise|On an island of gannets"),
        Theme("Mountains and hiking", "mountains|hiking|climbing|wilderness", "Summit|Trail|Glacier|Ridge|Pass|Boot|Peak|Snow",
            "A mountain guide|A walker of sixty-five|A climber after an accident|A long-distance hiker",
            "walks a thousand miles alone|climbs a north face in winter|crosses the Alps from hut to hut|learns when to turn back",
            "In the high Karakoram|On the Pacific Crest Trail|Above the tree line|In the Scottish Highlands"),
        Theme("Oceans", "ocean|marine life|diving|whales", "Reef|Whale|Tide|Kelp|Octopus|Current|Shell|Deep",
            "A free diver|A marine biologist|A whale researcher|A fisherman turned guardian",
            "swims with whales to record their songs|maps a reef before it bleaches|befriends an octopus|descends to the deepest trench",
            "Off the coast of Tonga|In a kelp forest|On the Great Barrier Reef|Where the shelf drops away"))),
    Genre("Popular science", "Curious|Hidden|Elegant|Strange|Brief|Restless|Universal|Unlikely|Invisible|Improbable",
        "lucid|provocative|entertaining|authoritative", "no formula is used without a story|the open questions are the best part"
        "|it ends where the textbooks begin|the experiments can be tried at home", (
        Theme("Physics and the cosmos", "physics|cosmology|quantum|universe", "Universe|Quantum|Particle|Gravity|Atom|Galaxy|Void|Photon",
            "A theoretical physicist|An astronomer|A science journalist|A professor of cosmology",
            "explains black holes without equations|tells the story of the first three minutes|asks why time runs forward|traces the search for dark matter",
            "From the Big Bang to the last star|In the tunnels of a particle collider|At the eyepiece of a telescope|At the scale of the very small"),
        Theme("The brain", "neuroscience|psychology|memory|behaviour", "Brain|Memory|Neuron|Habit|Dream|Mind|Attention|Sleep",
            "A neurologist|A psychologist|A sleep researcher|A memory champion",
            "shows how memories are made and lost|explains why we sleep and dream|describes patients with remarkable minds|takes apart the science of habits",
            "Inside the human skull|From the clinic to the laboratory|In twelve case histories|Between nerve and thought"),
        Theme("Evolution and genes", "evolution|genetics|biology|fossils", "Gene|Fossil|Cell|Species|Ancestor|Helix|Virus|Bone",
            "A geneticist|A fossil hunter|An evolutionary biologist|A doctor in a gene clinic",
            "reads the history of life in our genes|digs up an ancestor nobody expected|explains how viruses shaped us|follows the finches that Darwin missed",
            "From the first cell to the human hand|In the rift valleys of Ethiopia|In the age of gene editing|On islands where evolution hurries"),
        Theme("Mathematics and computing", "mathematics|computing|algorithms|probability", "Number|Proof|Code|Infinity|Prime|Chance|Puzzle|Network",
            "A mathematician|A computer scientist|A statistician|A collector of puzzles",
            "finds beauty in prime numbers|explains how computers learn|tells what chance can and cannot do|recounts the proof that took four centuries",
            "From Euclid to machine learning|At a blackboard in Göttingen|In the logic of everyday decisions|Behind every search and every secret"))),
    Genre("Arts", "Painted|Unfinished|Bright|Loud|Blue|Framed|Velvet|Lost|Bold|Tuned",
        "intimate|opinionated|generously illustrated|definitive", "the work is seen with new eyes|old quarrels are settled, and new ones begun"
        "|the letters are quoted at length|genius turns out to be mostly labour", (
        Theme("Music", "music|composers|jazz|biography", "Symphony|Piano|Record|Chord|Guitar|Trumpet|Melody|Silence",
            "A concert pianist|A jazz critic|A luthier|The drummer of a famous band",
            "tells the life of a great composer|listens to a hundred records that changed music|explains harmony from the keyboard|goes on the road for one last tour",
            "In the jazz clubs of New Orleans|In Vienna, around 1800|Backstage and in the studio|From plainsong to punk"),
        Theme("Painting", "painting|art history|museums|artists", "Canvas|Brush|Portrait|Studio|Palette|Fresco|Sketch|Colour",
            "A museum curator|A forger|An art historian|A portrait painter",
            "looks at one painting for a year|traces a stolen Vermeer|follows the impressionists out of doors|explains how pigments made pictures",
            "In the studios of Montmartre|In the galleries of the Prado|In Renaissance Florence|Under the restorer's lamp"),
        Theme("Cinema", "cinema|film history|directors|Hollywood", "Reel|Screen|Scene|Director|Script|Projector|Lens|Premiere",
            "A film critic|A stunt double|A screenwriter|A projectionist",
            "watches the classics frame by frame|remembers the making of a masterpiece|explains how scenes are cut|tells the rise and fall of a studio",
            "In the Hollywood of the fifties|On a film set in Rome|In the back row of a small-town cinema|From silent film to streaming"),
        Theme("Photography", "photography|cameras|portraits|visual storytelling", "Camera|Negative|Light|Exposure|Darkroom|Focus|Shutter|Frame",
            "A war photographer|A street photographer|A portraitist|A teacher of photography",
            "explains light, one photograph at a time|opens an archive of unseen negatives|photographs the same street for forty years|teaches seeing before pressing the shutter",
            "On the streets of New York|In the red light of the darkroom|In the last years of film|With one camera and one lens"))),
)
# fmt: on
