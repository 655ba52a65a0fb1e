"""Words that say nothing about a product: function words, and what shoppers say around the thing they want.

The function words follow Snowball's stop words (https://snowballstem.org). Words that may describe a product
are left out of them, such as numbers, "big", "long" or "new". All words are written as `text.fold()` returns
them: in lower case, without accents.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

STOP_WORDS: Final[Mapping[str, frozenset[str]]] = {
    language: frozenset(words.split())
    for language, words in {
        "en": """
            a an the and or but nor if then than as at by for from in into of on onto out over to with
            without within upon per via about between through during under above below before after again
            against i me my mine we us our ours you your yours he him his she her hers it its they them
            their theirs this that these those who whom whose which what where when why how am is are was
            were be been being have has had having do does did doing can could may might must shall
            should will would not no so too very just also only own same such both each few more most
            other some any all here there
        """,
        "fr": """
            a au aux avec ce ces cet cette dans de des du elle en et eux il ils je la le les leur leurs
            lui ma mais me mes moi mon ne nos notre nous on ou par pas pour qu que qui quoi sa se ses si
            son sur ta te tes toi ton tu un une vos votre vous y lors est sont suis es sommes etes etait
            etaient ete etre ai as avons avez ont avait avaient avoir eu sera seront sans sous chez comme
            plus tres tout toute tous toutes aussi donc dont ni quel quelle quels quelles cela celui
            celle ceux celles ici entre vers depuis pendant
        """,
        "de": """
            der die das den dem des ein eine einen einem einer eines und oder aber als am an auf aus bei
            bis da damit dann dass dein deine dem denn dich dir doch du durch er es euch euer fur gegen
            hat hatte haben habe ich ihm ihn ihnen ihr ihre ihren ihrem im in ins ist ja jede jeder jedes
            kann kein keine man mein meine meinen mich mir mit nach nicht noch nun nur ob ohne sehr sein
            seine seinen sich sie sind so soll uber um uns unser unsere unter vom von vor war waren was
            weil welche welcher welches wenn wer wie wir wird wo zu zum zur zwischen auch einige etwas
        """,
        "es": """
            a al algo ante antes con como contra cual cuando de del desde donde durante e el ella ellas
            ellos en entre era es esa ese eso esta este esto estos estas fue ha hay la las le les lo los
            mas me mi mis mucho muy nada ni no nos nosotros o os para pero por porque que quien se sea
            ser si sin sobre son su sus te ti tu tus un una uno unos unas y ya yo he has han tiene tienen
        """,
        "it": """
            a ad al alla alle allo agli ai anche che chi ci come con contro cui da dal dalla dalle dai
            dagli del della delle dello dei degli di dove e ed era gli ha hanno ho i il in io l la le lei
            lo loro lui ma mi mia mie mio miei ne nei nel nella nelle negli no noi non nostro o per
            perche piu quale quando quella quello questa questo queste questi se sei si sia siamo sono su
            sua sue suo suoi sul sulla tra fra tu tua tue tuo un una uno vi voi
        """,
        "nl": """
            aan al als bij dan dat de der deze die dit doch door een en er haar had heb hebben heeft hem
            het hij hoe hun ik in is ja je kan maar me meer met mij mijn na naar niet nog nu of om omdat
            onder ons onze ook op over te tegen toch toen tot u uit uw van veel voor want waren was wat
            we wel werd wie wij wil worden wordt zal ze zelf zich zij zijn zo zonder zou
        """,
        "pt": """
            a ao aos as ate com como da das de dela dele do dos e ela ele eles elas em entre era essa
            esse esta este estes estas eu foi ha isso isto ja lhe mais mas me mesmo meu meus minha minhas
            muito na nas nao nem no nos nossa nosso o os ou para pela pelo pelas pelos por qual quando
            que quem se sem ser seu seus so sua suas tambem te tem um uma voce
        """,
    }.items()
}
"""The function words of each language, by its code."""

FILLERS: Final[Mapping[str, frozenset[str]]] = {
    language: frozenset(words.split())
    for language, words in {
        "en": """
            look looking search searching find finding show want wanted wants need needed needs buy
            buying purchase order get give please like got something anything thing things hello hi
            thanks thank let see go recommend suggest
        """,
        "fr": """
            cherche cherchez chercher cherchons recherche recherchons trouver trouve montrez montrer
            montre voudrais voudrait voudrions veux veut voulons voulez vouloir aimerais aimerions faut
            besoin acheter achete plait svp stp bonjour merci quelque chose voir donnez donner proposez
        """,
        "de": """
            suche suchen gesucht finde finden zeig zeige zeigen mochte mochten will wollen brauche
            brauchen kaufen bitte gerne gern hallo danke habt gibt
        """,
        "es": """
            busco buscar buscando encontrar muestra mostrar muestrame quiero queremos quisiera necesito
            necesitamos comprar favor hola gracias
        """,
        "it": """
            cerco cercare cerchiamo trovare mostra mostrami vorrei vorremmo voglio bisogno comprare
            favore ciao grazie
        """,
        "nl": """
            zoek zoeken vinden toon laat zien wil wilt nodig kopen graag alsjeblieft alstublieft hallo
            bedankt
        """,
        "pt": """
            procuro procurar buscar encontrar mostre mostrar quero queremos queria gostaria preciso
            precisamos comprar favor ola obrigado obrigada
        """,
    }.items()
}
"""What shoppers write around the thing that they look for, as in "I am looking for …", by language."""
