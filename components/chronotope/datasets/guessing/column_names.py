"""Names of columns in logs, in several languages, by the contract column that they mean."""

import re
from typing import Final

from chronotope.contracts import columns as c

_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SEPARATORS: Final = re.compile(r"[^\w]+|_+")
_ID_WORDS: Final = frozenset({"id", "no", "nr", "num", "number", "key", "code", "hash", "nummer"})

_WORDS: Final = {
    c.USER_ID: """
        user userid uid username users customer customerid client clientid visitor visitorid member
        person personid household reviewer reviewerid student idstudent account patient listener
        subscriber guest buyer shopper passenger rider cardholder card cc author who actor player
        kunde kunden benutzer nutzer besucher gast utilisateur usager cliente clienti utente
        usuario klant gebruiker
        用户 用户id 会员 会員 会員id 顾客 客户 顧客 ユーザー ユーザ 利用者
        пользователь клиент покупатель 회원 사용자 고객
    """,
    c.ITEM_ID: """
        item itemid items product productid article articleid sku stockcode asin isbn movie movieid
        film filmid song songid track trackid book bookid venue venueid location locationid spot
        poi content contentid video videoid game gameid news newsid page pageid url recipe dish
        business businessid restaurant hotel site idsite activity merchant merchantid artist
        artistid what object course artikel produkt ware produit producto articulo prodotto articolo
        商品 商品id 物品 品目 产品 品番 作品 店名
        товар продукт фильм 상품 제품
    """,
    c.OCCURRED_AT: """
        timestamp time datetime date when ts at occurred created createdat eventtime invoicedate
        unixreviewtime utc utctime dat tdat seen visited checkin checkintime moment day zeitstempel
        zeitpunkt zeit datum uhrzeit tag fecha hora heure jour horodatage data ora tijd
        时间 時間 時刻 日時 日期 日付 下单时间
        дата время 날짜 시간 일시
    """,
    c.LAT: "lat latitude breite breitengrad latitud latitudine 纬度 緯度 широта 위도",
    c.LON: """
        lon lng long longitude laenge länge längengrad longitud longitudine
        经度 経度 долгота 경도
    """,
    c.VALUE: """
        rating value score overall stars price amount unitprice quantity qty total sales count
        weight duration playtime seconds amt preis betrag menge anzahl bewertung prix quantité note
        precio cantidad importe prezzo quantità
        评分 价格 金额 数量 評価 価格 金額
        оценка цена количество сумма 가격 평점
    """,
    c.SESSION_ID: """
        session sessionid sid basket basketid invoice invoiceno invoiceid order orderid transaction
        transactionid transid trans visit visitid usersession traj trajid trip cart receipt ticket
        bon beleg rechnung warenkorb bestellung sitzung panier commande facture pedido factura
        订单 会话 注文 伝票 заказ сессия 주문
    """,
    c.EVENT_TYPE: """
        eventtype event action actiontype behavior behaviour behaviortype type kind activitytype
        ereignis aktion évènement acción evento 行为 行動 событие 행동
    """,
    c.PLACE_ID: """
        place placeid store storeid shop shopid branch outlet station region filiale laden geschäft
        magasin tienda negozio 门店 店铺 店舗 店 магазин 매장 지점
    """,
    c.UTC_OFFSET_MIN: """
        utcoffsetmin utcoffset tzoffsetmin tzoffset timezoneoffset off offset zeitzone
    """,
}
_EXACT_SCORE: Final = 2.0
_HEAD_SHARE: Final = 0.6
_PART_SHARE: Final = 0.5
_PREFERENCE: Final = 0.001
_WORD_SCORES: Final = {
    word: (role, 1.0 - _PREFERENCE * position)
    for role, words in _WORDS.items()
    for position, word in enumerate(words.split())
}
"""Contract column of each word, and how good it is: the first words are the usual ones."""

PLACE_ITEMS: Final = frozenset(
    (
        "venue",
        "venueid",
        "location",
        "locationid",
        "spot",
        "poi",
        "restaurant",
        "hotel",
        "business",
        "businessid",
    )
)
"""Words for items that are places."""


def name_scores(column_name: str) -> dict[str, float]:
    """How well a column's name fits each contract column; absent ones do not fit.

    Example:
        >>> name_scores("User"), name_scores("user_id:token"), name_scores("colour")
        ({'user_id': 1.0}, {'user_id': 1.0}, {})
    """
    if column_name.strip() in _WORDS:
        return {column_name.strip(): _EXACT_SCORE}
    words = name_words(column_name)
    item_scores: dict[str, float] = {}
    for text in ("".join(words), "".join(word for word in words if word not in _ID_WORDS)):
        if text in _WORD_SCORES:
            role, score = _WORD_SCORES[text]
            item_scores[role] = max(item_scores.get(role, 0.0), score)
    for position, word in enumerate(words):
        if word in _WORD_SCORES:
            role, score = _WORD_SCORES[word]
            # The last word of a compound is its head: "product time" is a time.
            part_score = score * (_HEAD_SHARE if position == len(words) - 1 else _PART_SHARE)
            item_scores[role] = max(item_scores.get(role, 0.0), part_score)
    return item_scores


def name_words(column_name: str) -> list[str]:
    """Lower-case words of a column's name, without a type suffix such as ``:token``."""
    bare_name = column_name.strip().partition(":")[0]
    spaced_name = _CAMEL.sub(" ", bare_name)
    return [word for word in _SEPARATORS.split(spaced_name.lower()) if word]


def is_place_name(column_name: str) -> bool:
    """Whether the name of an item column means places, such as ``venueId``."""
    words = name_words(column_name)
    return not PLACE_ITEMS.isdisjoint([*words, "".join(words)])
