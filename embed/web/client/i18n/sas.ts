// The 64 emoji by which devices are compared, as the specification names them, in Ukrainian.
// spec: client-server-api#sas-method-emoji

const NAMES =
    "Dog:Пес,Cat:Кіт,Lion:Лев,Horse:Кінь,Unicorn:Єдиноріг,Pig:Свиня,Elephant:Слон,Rabbit:Кріль,Panda:Панда,Rooster:Півень,Penguin:Пінгвін,Turtle:Черепаха,Fish:Риба,Octopus:Восьминіг,Butterfly:Метелик,Flower:Квітка,Tree:Дерево,Cactus:Кактус,Mushroom:Гриб,Globe:Глобус,Moon:Місяць,Cloud:Хмара,Fire:Вогонь,Banana:Банан,Apple:Яблуко,Strawberry:Полуниця,Corn:Кукурудза,Pizza:Піца,Cake:Торт,Heart:Серце,Smiley:Посмішка,Robot:Робот,Hat:Капелюх,Glasses:Окуляри,Spanner:Гайковий ключ,Santa:Святий Миколай,Thumbs Up:Великий палець вгору,Umbrella:Парасолька,Hourglass:Пісковий годинник,Clock:Годинник,Gift:Подарунок,Light Bulb:Лампочка,Book:Книга,Pencil:Олівець,Paperclip:Спиначка,Scissors:Ножиці,Lock:Замок,Key:Ключ,Hammer:Молоток,Telephone:Телефон,Flag:Прапор,Train:Потяг,Bicycle:Велосипед,Aeroplane:Літак,Rocket:Ракета,Trophy:Приз,Ball:М’яч,Guitar:Гітара,Trumpet:Труба,Bell:Дзвін,Anchor:Якір,Headphones:Навушники,Folder:Тека,Pin:Кнопка";

const uk = new Map(NAMES.split(",").map((pair) => pair.toLowerCase().split(":") as [string, string]));
const upper = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** The emoji's name in the language; the SDK tells it in English. */
export const emojiName = (name: string, language: string): string => upper(language === "uk" ? (uk.get(name.toLowerCase()) ?? name) : name);
